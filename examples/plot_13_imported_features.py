"""
Features of another program
===========================

Features that were computed elsewhere (a foundation model behind an interface, radiomics, a table of clinical numbers) are
imported, and then compared like any other arm.
"""

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from synthetic_skin import TASK, draw, workspace

import featx

manifest, work = draw(), workspace()
images = featx.read_manifest(manifest)

# %%
# The other program: a histogram of grey levels. It writes ids and features into one ``.npz`` file.

grey = [np.asarray(Image.open(path).convert("L")) for path in images.paths]
histograms = np.stack([np.histogram(one, bins=16, range=(0, 256), density=True)[0] for one in grey])
np.savez(work / "grey.npz", ids=images.ids, features=np.float32(histograms))

done = featx.import_features(
    work / "grey.npz", name="grey-levels", manifest=manifest, arm="grey-levels", cache=work / "cache"
)
print(done.images, "images,", done.width, "numbers for each")

# %%
# From here on it is an arm.

featx.extract(manifest, backbone="tiny", weights="random", arm="frozen", cache=work / "cache")
for arm in ("grey-levels", "frozen"):
    featx.train_svm(manifest, arm=arm, task=TASK, protocol="5x2", cache=work / "cache", output=work / "runs")
table = featx.read_runs([work / "runs" / "grey-levels", work / "runs" / "frozen"])
one = table[table["fold"] == "1x1"].pivot_table(index=["id", "class"], columns="arm", values="score:melanoma")

fig, ax = plt.subplots(figsize=(5, 4.5))
for label, rows in one.groupby("class"):
    ax.scatter(rows["grey-levels"], rows["frozen"], s=18, label=label)
ax.set(xlabel="decision value of the grey levels", ylabel="decision value of the network")
ax.legend(title="fold 1x1, test set")
