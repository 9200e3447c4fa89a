"""
Fusing two arms
===============

Do two networks together see more than each alone? Features can be joined side by side, or the decision values of an SVM
for each arm can be averaged.
"""

import matplotlib.pyplot as plt
import numpy as np
from synthetic_skin import TASK, draw, workspace

import featx
from featx.svm import run_auc

manifest, work = draw(), workspace()
featx.extract(manifest, backbone="tiny", weights="random", arm="frozen", cache=work / "cache")
featx.extract(manifest, backbone="own_networks:colours", arm="colours", cache=work / "cache")
given = {"task": TASK, "protocol": "5x2", "cache": work / "cache", "output": work / "runs"}
aucs = {}
for arm in ("frozen", "colours"):
    aucs[arm] = [run_auc(run) for run in featx.train_svm(manifest, arm=arm, **given)]
for method in ("concat", "mean-score"):
    runs = featx.train_svm(
        manifest, fuse=method, member=["frozen", "colours"], arm=f"fused {method}", **given
    )
    aucs[f"fused:\n{method}"] = [run_auc(run) for run in runs]

fig, ax = plt.subplots(figsize=(6, 4))
ax.boxplot(list(aucs.values()), tick_labels=list(aucs), meanline=True, showmeans=True)
ax.set_ylabel("test AUC over ten folds")
print({arm.replace("\n", " "): round(float(np.mean(values)), 3) for arm, values in aucs.items()})
