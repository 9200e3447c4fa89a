"""
Embedding map, and labels that may be wrong
===========================================

A map of the features in two dimensions shows groups of images and outliers. Images of which neither the neighbours nor an
SVM that was not trained on them have their label are listed to be looked at.
"""

import matplotlib.pyplot as plt
import pandas as pd
from synthetic_skin import TASK, draw, workspace

import featx

manifest, work = draw(), workspace()
featx.extract(manifest, backbone="tiny", weights="random", arm="frozen", cache=work / "cache")
featx.train_svm(
    manifest, arm="frozen", task=TASK, protocol="5x2", cache=work / "cache", output=work / "map-runs"
)
maps = featx.embedding(
    work / "map-runs" / "frozen",
    manifest=manifest,
    method="pca",
    output=work / "embedding",
    cache=work / "cache",
)
(arm,) = maps.arms
points, noise = pd.DataFrame(arm.points), {one.id for one in arm.noise}
print(len(points), "images,", len(noise), "with a label that may be wrong")

# %%
# A clear separation on a map is no evidence for a high AUC, and the reverse: this map has two of 128 dimensions.

fig, ax = plt.subplots(figsize=(5, 4))
for label, rows in points.groupby("actual"):
    ax.scatter(rows["x"], rows["y"], s=18, label=label)
doubtful = points[points["id"].isin(noise)]
ax.scatter(doubtful["x"], doubtful["y"], s=60, facecolors="none", edgecolors="k", label="look at the label")
ax.set(xlabel="first principal component", ylabel="second principal component")
ax.legend()
