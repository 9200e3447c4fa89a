"""
Your own backbone
=================

A function from a batch of images to features is a backbone: a Keras model, a network of timm, or six numbers by NumPy as
in ``own_networks.py`` beside this script. A baseline of this kind belongs in every study: what do colours alone achieve?

.. literalinclude:: ../../examples/own_networks.py
   :language: python
   :lines: 3-
"""

import matplotlib.pyplot as plt
import numpy as np
from synthetic_skin import TASK, draw, workspace

import featx
from featx.svm import run_auc

manifest, work = draw(), workspace()
featx.extract(manifest, backbone="own_networks:colours", arm="colours", cache=work / "cache")
featx.extract(manifest, backbone="tiny", weights="random", arm="frozen", cache=work / "cache")
aucs = {}
for arm in ("colours", "frozen"):
    runs = featx.train_svm(
        manifest, arm=arm, task=TASK, protocol="5x2", cache=work / "cache", output=work / "runs"
    )
    aucs[arm] = [run_auc(run) for run in runs]

fig, ax = plt.subplots(figsize=(4.5, 4))
ax.boxplot(list(aucs.values()), tick_labels=[f"{arm}\nmean {np.mean(v):.3f}" for arm, v in aucs.items()])
ax.set_ylabel("test AUC over ten folds")
