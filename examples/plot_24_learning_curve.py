"""
Learning curve: would more images help?
=======================================

With ``train_fraction``, SVMs are trained on nested parts of each training set too. The test sets stay the same.
"""

import matplotlib.pyplot as plt
from synthetic_skin import TASK, draw, workspace

import featx
from featx.stats import roc_auc

manifest, work = draw(), workspace()
featx.extract(manifest, backbone="tiny", weights="random", arm="frozen", cache=work / "cache")
featx.train_svm(
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
# Smaller parts lie inside larger ones of the same draw, and patients are drawn whole. The training set of a fold is what it
# does not test.

table["fraction"] = table["subset:fraction"].fillna(1)
table["seed"] = table["subset:seed"].fillna(0)
images = table["id"].nunique()
aucs = (
    table.groupby(["fold", "fraction", "seed"])
    .apply(lambda rows: roc_auc(rows["class"] == "melanoma", rows["score:melanoma"]))
    .rename("auc")
    .reset_index()
)

fig, ax = plt.subplots(figsize=(6, 4))
ax.plot(
    aucs["fraction"] * images * 2 / 3,
    aucs["auc"],
    "o",
    color="C0",
    alpha=0.4,
    markersize=4,
    label="a fold and draw",
)
mean = aucs.groupby("fraction")["auc"].mean()
ax.plot(mean.index * images * 2 / 3, mean, "s-k", label="mean over folds and draws")
ax.set(xlabel="images in the training set, about", ylabel="AUC on the test set of the fold", xscale="log")
sizes = [round(fraction * images * 2 / 3) for fraction in mean.index]
ax.set_xticks(sizes, sizes)
ax.minorticks_off()
ax.legend()
print(mean.round(3).to_dict())

# %%
# A curve that still rises at its end says that more images would help. Here the folds and draws differ by more than the
# curve rises. Reports show confidence intervals, as ``training-sizes``.
