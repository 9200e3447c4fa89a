"""
Fine-tuning, fold by fold
=========================

A network is trained on the training set of each fold, and never sees the test set of that fold. Its features are then
extracted, and scored by the same SVM as those of the frozen network.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from synthetic_skin import TASK, draw, workspace

import featx
from featx.svm import run_auc

manifest, work = draw(), workspace()
tuned = featx.finetune(
    manifest,
    backbone="tiny",
    weights="random",
    arm="tuned",
    task=TASK,
    protocol="kfold:2",
    epochs=12,
    learning_rate=3e-3,
    batch_size=16,
    validation=0.2,
    output=work / "finetuned",
    cache=work / "cache",
)

# %%
# Each run keeps its history. A fifth of the training set, by patient, is held out to choose the epoch.

fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2))
for run in tuned:
    history = pd.read_csv(run.path / "history.csv")
    left.plot(history["loss"], label=f"fold {run.record.fold}")
    right.plot(history["validation_auc"], label=f"fold {run.record.fold}")
left.set(xlabel="epoch", ylabel="training loss")
right.set(xlabel="epoch", ylabel="AUC of the validation set")
right.legend()
fig.tight_layout()

# %%
# The folder of the runs is a weights source with a network for each fold.

featx.extract(
    manifest, backbone="tiny", weights=work / "finetuned" / "tuned", arm="tuned", cache=work / "cache"
)
featx.extract(manifest, backbone="tiny", weights="random", arm="frozen", cache=work / "cache")
for arm in ("tuned", "frozen"):
    runs = featx.train_svm(
        manifest, arm=arm, task=TASK, protocol="kfold:2", cache=work / "cache", output=work / "runs"
    )
    print(f"{arm}: {np.mean([run_auc(run) for run in runs]):.3f}, mean AUC of {len(runs)} folds")
