"""
Power: which difference could this test set find?
=================================================

Before a study: the smallest true difference of two AUCs that a test set of some size finds with a probability of 80 %.
"""

import matplotlib.pyplot as plt
import numpy as np

from featx.stats import planned_difference

sizes = np.array([50, 100, 200, 400, 800, 1600, 3200])
fig, ax = plt.subplots(figsize=(6, 4))
for correlation in (0.3, 0.5, 0.8):
    found = [
        planned_difference(int(0.2 * n), int(0.8 * n), auc=0.8, correlation=correlation).difference
        for n in sizes
    ]
    ax.plot(sizes, found, "o-", label=f"correlation of the arms {correlation}")
ax.set(
    xscale="log",
    yscale="log",
    xlabel="images in the test set, a fifth of them positive",
    ylabel="minimum detectable difference of the AUC",
)
ax.set_xticks(sizes, sizes)
ax.set_yticks([0.02, 0.05, 0.1, 0.2], [0.02, 0.05, 0.1, 0.2])
ax.minorticks_off()
ax.grid(alpha=0.3)
ax.legend()

# %%
# With 100 images no method can tell apart arms that differ by less than about 0.1; a result of "no significant
# difference" then says little. With several comparisons the level is corrected, and the detectable difference grows.

for comparisons in (1, 10):
    plan = planned_difference(80, 320, auc=0.8, level=1 - 0.05 / comparisons)
    print(f"{comparisons:2} comparisons: {plan.difference:.3f} ({plan.method})")
