"""
Learning curve: would more images help?
=======================================

With ``train_fraction``, SVMs are trained on nested parts of each training set too. The test sets stay the same.
"""

import matplotlib.pyplot as plt
from synthetic_skin import TASK, draw, workspace

import featx
from featx.data import training_set
from featx.stats import roc_auc

manifest, work = draw(), workspace()
featx.extract(manifest, backbone="tiny", weights="random", arm="frozen", cache=work / "cache")
runs = featx.train_svm(
    manifest,
    arm="growing",
    features=work / "cache" / "arms" / "frozen.json",
    task=TASK,
    protocol="kfold:3",
    train_fraction=[0.2, 0.5],
    train_seeds=3,
    cache=work / "cache",
    output=work / "growth",
)
table = featx.read_runs(work / "growth" / "growing")
table[["fold", "id", "class", "score:melanoma", "subset:fraction", "subset:seed"]].head()

# %%
# Smaller parts lie inside larger ones of the same draw, and patients are drawn whole. Every run lists its training set.

sizes = {str(run.path): len(training_set(run)) for run in runs}
aucs = (
    table.groupby(["run", "subset:fraction"], dropna=False)
    .apply(lambda rows: roc_auc(rows["class"] == "melanoma", rows["score:melanoma"]))
    .rename("auc")
    .reset_index()
)
aucs["fraction"] = aucs["subset:fraction"].fillna(1)
aucs["images"] = aucs["run"].map(sizes)
mean = aucs.groupby("fraction")[["images", "auc"]].mean()

fig, ax = plt.subplots(figsize=(6, 4))
ax.plot(aucs["images"], aucs["auc"], "o", color="C0", alpha=0.4, markersize=4, label="a fold and draw")
ax.plot(mean["images"], mean["auc"], "s-k", label="mean over folds and draws")
ax.set(xlabel="images in the training set", ylabel="AUC on the test set of the fold", xscale="log")
ticks = mean["images"].round().astype(int)
ax.set_xticks(ticks, ticks)
ax.minorticks_off()
ax.legend()
mean.round(3)

# %%
# A curve that still rises at its end says that more images would help. Here the folds and draws differ by more than the
# curve rises. Reports show confidence intervals, as ``training-sizes``.
