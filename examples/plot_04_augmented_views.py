"""
Augmented views (test-time augmentation)
========================================

The features of an image can be averaged over several views of it: turned, scaled and shifted by a Halton sequence, which
is the same for every image and every run.
"""

import matplotlib.pyplot as plt
import numpy as np
from synthetic_skin import TASK, draw, workspace

import featx
from featx.svm import run_auc

manifest, work = draw(), workspace()
numbers = (1, 2, 4, 8)
means, spreads = [], []
for views in numbers:
    arm = f"{views} views" if views > 1 else "frozen"
    featx.extract(manifest, backbone="tiny", weights="random", views=views, arm=arm, cache=work / "cache")
    runs = featx.train_svm(
        manifest, arm=arm, task=TASK, protocol="5x2", cache=work / "cache", output=work / "runs"
    )
    aucs = [run_auc(run) for run in runs]
    means.append(np.mean(aucs))
    spreads.append(np.std(aucs, ddof=1))

fig, ax = plt.subplots(figsize=(5, 4))
ax.errorbar(numbers, means, yerr=spreads, fmt="o-", capsize=3)
ax.set(xlabel="views of each image", ylabel="mean test AUC, and its SD over ten folds", xscale="log")
ax.set_xticks(numbers, numbers)
ax.minorticks_off()

# %%
# The standard deviation over folds is no confidence interval: the folds share images. The next example shows the test
# that is made for such folds. Every view costs one forward pass, so that 8 views take 8 times as long to extract.
