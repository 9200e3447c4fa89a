"""
Protocols and folds
===================

A protocol says which images train and which test. The picture shows the folds of four protocols; images of one patient
(here two in a row) are never on both sides.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from synthetic_skin import TASK, draw, workspace

import featx

manifest, work = draw(), workspace()
images = featx.read_manifest(manifest)
row = {name: number for number, name in enumerate(images.ids)}
protocols = ("2x2", "kfold:5", "bootstrap:4", "leave-one-group-out")

fig, axes = plt.subplots(len(protocols), 1, figsize=(8, 7), sharex=True)
for ax, protocol in zip(axes, protocols, strict=True):
    folds = featx.make_folds(manifest, task=TASK, protocol=protocol, cache=work / "cache")
    shown = folds.folds[:6]
    parts = np.zeros((len(shown), len(row)))
    for line, fold in enumerate(shown):
        parts[line, [row[name] for name in fold.train]] = 1
        parts[line, [row[name] for name in fold.test]] = 2
    ax.imshow(
        parts, aspect="auto", interpolation="none", vmin=0, vmax=2, cmap=ListedColormap(["w", "C0", "C1"])
    )
    ax.set_yticks(range(len(shown)), [fold.name for fold in shown], fontsize=7)
    ax.set_title(f"{protocol}: {len(folds.folds)} folds", fontsize=9)
axes[-1].set_xlabel("image (blue: training set, orange: test set)")
fig.tight_layout()

# %%
# Folds are files that can be published and read again: ``--protocol folds.json``. Their digest says whether two studies
# used the same folds.

folds = featx.make_folds(manifest, task=TASK, protocol="5x2", cache=work / "cache")
print(len(folds.folds), "folds, digest", folds.digest[:12])
groups = dict(zip(images.ids, images.table["group"], strict=True))
print([len({groups[i] for i in fold.train} & {groups[i] for i in fold.test}) for fold in folds.folds])
