"""
Comparing two arms
==================

Which of two arms is better, and can the difference be believed? `compare_arms` makes the comparison that a report
states: over the same folds and images, by the test that the protocol allows.
"""

import matplotlib.pyplot as plt
import numpy as np
from synthetic_skin import TASK, draw, workspace

import featx

manifest, work = draw(), workspace()
for arm, pool in (("frozen", "avg"), ("maximum", "max")):
    layers = () if pool == "avg" else ["block6_relu"]
    featx.extract(
        manifest, backbone="tiny", weights="random", layers=layers, pool=pool, arm=arm, cache=work / "cache"
    )
    featx.train_svm(manifest, arm=arm, task=TASK, protocol="5x2", cache=work / "cache", output=work / "runs")

found = featx.compare_arms([work / "runs" / "frozen", work / "runs" / "maximum"], "maximum", "frozen")
test = found.finding
print(f"AUC {found.values[0]:.3f} and {found.values[1]:.3f}, difference {test.estimate:+.3f}")
print(f"95 % confidence interval {test.low:+.3f} to {test.high:+.3f}, p = {test.p:.3f}")
print(f"{test.test}; {test.n} images, {test.positives} of them positive, {test.folds} folds")

# %%
# Each point is the difference in one fold. The interval is wider than the spread of the folds suggests, because folds of
# one data set share images.

fig, ax = plt.subplots(figsize=(6, 2.6))
ax.plot(found.differences, np.ones(len(found.differences)), "o", alpha=0.5)
ax.errorbar(
    test.estimate, 0, xerr=[[test.estimate - test.low], [test.high - test.estimate]], fmt="sk", capsize=4
)
ax.axvline(0, color="0.7", linewidth=1)
ax.set_yticks([0, 1], ["mean and 95 % interval", "ten folds"])
ax.set(xlabel="difference of the AUC, maximum - frozen", ylim=(-0.7, 1.7))
fig.tight_layout()
