"""
Features as a pandas table
==========================

Extract features once, and read them as a table with a row for each image.
"""

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.decomposition import PCA
from synthetic_skin import draw, show, workspace

import featx

manifest, work = draw(), workspace()
_, axes = plt.subplots(1, 6, figsize=(9, 1.8))
show(axes, manifest, [f"clinic{number:03d}" for number in (0, 1, 2, 3, 4, 6)])

# %%
# `tiny` is a small network for examples and tests; with your own images you would name a pre-trained one, such as
# ``backbone="resnet50"`` and ``weights="imagenet"``. The second call of `extract` with the same arguments computes nothing.

(done,) = featx.extract(manifest, backbone="tiny", weights="random", arm="frozen", cache=work / "cache")
print(done.images, "images,", done.computed, "computed,", done.reused, "found in the cache")

# %%
# The rows of a store are keyed by the content of the images. `to_numpy` returns them in the order of a manifest.

images = featx.read_manifest(manifest)
features = featx.FeatureStore(done.store).to_numpy(images)
table = pd.DataFrame(features, index=images.ids).add_prefix("f")
table.insert(0, "label", images.table["label"].to_numpy())
table.iloc[:5, :6]

# %%
# From here on it is ordinary pandas and scikit-learn: the two directions of largest variance.

plane = PCA(2).fit_transform(features)
fig, ax = plt.subplots(figsize=(5, 4))
for label, rows in table.reset_index().groupby("label").groups.items():
    ax.scatter(*plane[rows].T, label=label, s=18)
ax.set(xlabel="first principal component", ylabel="second principal component")
ax.legend()
