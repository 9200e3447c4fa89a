"""
An external test set
====================

Images of another clinic are scored by the SVMs of every fold, beside the fold's own test set. Nothing is learnt from
them. Here the other clinic's camera is darker.
"""

import matplotlib.pyplot as plt
import numpy as np
from synthetic_skin import TASK, draw, workspace

import featx
from featx.stats import roc_auc
from featx.svm import run_auc

manifest, work = draw(), workspace()
other = draw("elsewhere", images=80, seed=1, brightness=0.75)
for images in (manifest, other):
    featx.extract(images, backbone="tiny", weights="random", arm="frozen", cache=work / "cache")
runs = featx.train_svm(
    manifest,
    arm="frozen",
    task=TASK,
    protocol="5x2",
    test=[other],
    cache=work / "cache",
    output=work / "runs",
)

# %%
# The scores of the external images lie in the folder of each run.


def auc(predictions):
    actual = [one.actual == "melanoma" for one in predictions]
    return roc_auc(actual, [one.scores["melanoma"] for one in predictions])


inside = [run_auc(run) for run in runs]
outside = [auc(featx.external_scores(run)[0].predictions) for run in runs]
fig, ax = plt.subplots(figsize=(4.5, 4))
for pair in zip(inside, outside, strict=True):
    ax.plot([0, 1], pair, "o-", color="C0", alpha=0.4)
ax.plot([0, 1], [np.mean(inside), np.mean(outside)], "sk")
ax.set_xticks([0, 1], ["own test set\nof the fold", "external\n(80 images)"])
ax.set(ylabel="AUC of each fold (square: mean)", xlim=(-0.4, 1.4))

# %%
# In a report, `featx.report` adds a section with intervals, and the calibration and thresholds on the external images.
# An image, patient or near duplicate that is also in the training data would be refused.
