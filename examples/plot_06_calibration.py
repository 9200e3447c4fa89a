"""
Calibration: what a predicted probability means
===============================================

With ``calibrate="sigmoid"``, a curve from decision values to probabilities is fitted inside each training set. Whether the
probabilities can be believed is seen on the test set.
"""

import matplotlib.pyplot as plt
from synthetic_skin import TASK, draw, workspace

import featx
from featx.stats import brier_score, fit_recalibration, reliability

manifest, work = draw(), workspace()
featx.extract(manifest, backbone="tiny", weights="random", arm="frozen", cache=work / "cache")
featx.train_svm(
    manifest,
    arm="calibrated",
    features=work / "cache" / "arms" / "frozen.json",
    task=TASK,
    protocol="kfold:4",
    calibrate="sigmoid",
    cache=work / "cache",
    output=work / "runs",
)
table = featx.read_runs(work / "runs" / "calibrated")
table[["fold", "id", "class", "score:melanoma", "probability:melanoma"]].head()

# %%
# In k-fold cross-validation every image is tested once. The points have intervals in which images of one patient are not
# taken as independent.

actual = (table["class"] == "melanoma").to_numpy()
probability = table["probability:melanoma"].to_numpy()
diagram = reliability(actual, probability, bins=5, spacing="quantile", groups=table["group"])
again = fit_recalibration(actual, probability, groups=table["group"])

fig, ax = plt.subplots(figsize=(5, 5))
ax.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="perfect calibration")
ax.errorbar(
    diagram.predicted,
    diagram.observed,
    yerr=[diagram.observed - diagram.low, diagram.high - diagram.observed],
    fmt="o-",
    capsize=3,
    label=f"featx, {actual.size} images, {actual.sum()} melanomas",
)
ax.set(xlabel="mean predicted probability", ylabel="observed fraction", xlim=(0, 1), ylim=(0, 1))
ax.legend()
print(f"Brier score {brier_score(actual, probability):.3f}")
print(f"calibration slope {again.slope.value:.2f} ({again.slope.low:.2f} to {again.slope.high:.2f})")
