"""
Several layers of a network
===========================

One pass over the images can store the features of several layers. Each layer is an arm of its own, and inner splits of
the training sets can choose among them.
"""

import matplotlib.pyplot as plt
import numpy as np
from synthetic_skin import TASK, draw, workspace

import featx
from featx.svm import run_auc

manifest, work = draw(), workspace()
layers = ["block2_relu", "block4_relu", "avg_pool"]
stores = featx.extract(manifest, backbone="tiny", weights="random", layers=layers, cache=work / "cache")
given = {"task": TASK, "protocol": "5x2", "cache": work / "cache", "output": work / "runs"}
aucs = {}
for one in stores:
    runs = featx.train_svm(manifest, arm=one.layer, features=one.store, **given)
    aucs[one.layer] = [run_auc(run) for run in runs]

# %%
# A choice of the layer by these test AUCs would be optimistic. With ``choose_features=True`` the inner splits choose, and
# the test set of each fold is used once.

chosen = featx.train_svm(
    manifest, arm="chosen layer", features=[one.store for one in stores], choose_features=True, **given
)
aucs["chosen by\ninner splits"] = [run_auc(run) for run in chosen]

fig, ax = plt.subplots(figsize=(6, 4))
for place, values in enumerate(aucs.values()):
    ax.plot(np.full(len(values), place), values, "o", color="C0", alpha=0.4)
    ax.plot(place, np.mean(values), "_", color="k", markersize=30)
ax.set_xticks(range(len(aucs)), aucs)
ax.axhline(0.5, color="0.7", linewidth=1)
ax.set_ylabel("test AUC of each of ten folds (bar: mean)")
