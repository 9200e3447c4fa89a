"""
Your own scikit-learn pipeline on a store
=========================================

featx makes the features and the folds; any estimator can be trained on them. The folds are those of `train_svm`, so that
the result can stand beside featx's own on the same images.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import RocCurveDisplay, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from synthetic_skin import TASK, draw, workspace

import featx
from featx.svm import run_auc

manifest, work = draw(), workspace()
(done,) = featx.extract(manifest, backbone="tiny", weights="random", arm="frozen", cache=work / "cache")
images = featx.read_manifest(manifest)
features = featx.FeatureStore(done.store).to_numpy(images)
positive = (images.table["label"] == "melanoma").to_numpy()

# %%
# Groups (patients) never straddle the parts of a fold.

folds = featx.make_folds(manifest, task=TASK, protocol="5x2", cache=work / "cache")
row = {name: number for number, name in enumerate(images.ids)}
pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=1000))

fig, ax = plt.subplots(figsize=(5, 5))
own = []
for fold in folds.folds:
    train, test = ([row[name] for name in part] for part in (fold.train, fold.test))
    scores = pipeline.fit(features[train], positive[train]).decision_function(features[test])
    own.append(roc_auc_score(positive[test], scores))
    RocCurveDisplay.from_predictions(
        positive[test], scores, ax=ax, curve_kwargs={"color": "C0", "alpha": 0.3}
    )
ax.get_legend().remove()
ax.set_title(f"logistic regression: mean AUC {np.mean(own):.3f} over {len(own)} folds")

# %%
# The SVM of featx in the same folds, with C chosen inside each training set:

runs = featx.train_svm(
    manifest, arm="frozen", task=TASK, protocol="5x2", cache=work / "cache", output=work / "runs"
)
print(f"logistic regression {np.mean(own):.3f}, SVM {np.mean([run_auc(run) for run in runs]):.3f}")
