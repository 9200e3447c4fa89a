"""
Robustness to corrupted images
==============================

What does the AUC lose if test images are dark, blurred, or have hair? The test images are corrupted, and scored by the same
SVMs; nothing is trained on corrupted images.
"""

import matplotlib.pyplot as plt
from synthetic_skin import TASK, draw, workspace

import featx

manifest, work = draw(), workspace()
featx.extract(manifest, backbone="tiny", weights="random", arm="frozen", cache=work / "cache")
featx.train_svm(
    manifest, arm="frozen", task=TASK, protocol="kfold:2", cache=work / "cache", output=work / "stress"
)
found = featx.robustness(
    work / "stress" / "frozen",
    manifest=manifest,
    corruptions=["blur", "darkness", "hair"],
    severities=[1, 3, 5],
    cache=work / "cache",
)
table = found.to_frame()
table.iloc[:4, :8]

# %%
# The loss is a paired difference on the same images.

fig, ax = plt.subplots(figsize=(6, 4))
for corruption, rows in table.groupby("corruption"):
    ax.plot(rows["severity"], rows["corrupted"], "o-", label=corruption)
ax.axhline(table["clean"].iloc[0], color="0.6", label="uncorrupted")
ax.set(xlabel="severity", ylabel="AUC, mean over two folds", xticks=[1, 3, 5])
ax.legend()
