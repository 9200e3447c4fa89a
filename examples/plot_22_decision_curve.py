"""
Decision curve: is the model worth acting on?
=============================================

A threshold probability states how many false positives one true positive is worth. Over these thresholds, net benefit
compares three strategies: treat (biopsy, refer) whom the model selects, treat all, and treat none.
"""

import matplotlib.pyplot as plt
import numpy as np
from synthetic_skin import TASK, draw, workspace

import featx
from featx.stats import decision_curve, net_benefit

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
actual = (table["class"] == "melanoma").to_numpy()
probability = table["probability:melanoma"].to_numpy()

# %%
# Choose the range of thresholds before you see the curve. Images of one patient are not taken as independent. The interval
# ends where fewer than five patients have a true positive, or a false one.

thresholds = np.arange(0.02, 0.61, 0.02)
curve = decision_curve(actual, probability, thresholds, groups=table["group"])

fig, ax = plt.subplots(figsize=(6, 4))
ax.plot(thresholds, [one.value for one in curve.model], "o-", markersize=3, label="model")
ax.fill_between(
    thresholds, [one.low for one in curve.model], [one.high for one in curve.model], alpha=0.2, label="95 %"
)
ax.plot(thresholds, [one.value for one in curve.treat_all], "--", color="0.4", label="treat all")
ax.axhline(0, color="0.7", linewidth=1, label="treat none")
ax.set(xlabel="threshold probability", ylabel="net benefit", ylim=(-0.15, 0.4))
ax.legend()

# %%
# At 0.2, one true positive is worth four false positives. The gain over treating all is estimated on the same images.

here = int(np.argmin(np.abs(thresholds - 0.2)))
gain = curve.gain[here]
print(
    f"net benefit at 0.2: {net_benefit(actual, probability, 0.2):.3f}, of treating all {curve.treat_all[here].value:.3f}"
)
print(f"gain over treating all: {gain.value:.3f} (95 % {gain.low:.3f} to {gain.high:.3f})")
