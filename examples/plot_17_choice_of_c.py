"""
How C was chosen
================

Every run keeps the whole search: the AUC of each inner split for each value of C. It shows whether the grid was wide
enough, and how much the choice matters.
"""

import matplotlib.pyplot as plt
from synthetic_skin import TASK, draw, workspace

import featx
from featx.svm import chosen_costs

manifest, work = draw(), workspace()
featx.extract(manifest, backbone="tiny", weights="random", arm="frozen", cache=work / "cache")
runs = featx.train_svm(
    manifest, arm="frozen", task=TASK, protocol="5x2", cache=work / "cache", output=work / "runs"
)

fig, ax = plt.subplots(figsize=(6, 4))
for run in runs:
    (search,) = run.record.search["classes"].values()
    curve = search["curve"]
    ax.plot(curve["C"], curve["mean"], color="C0", alpha=0.4)
    ax.plot(search["C"], max(curve["mean"]), "o", color="C0")
ax.set(xscale="log", xlabel="C", ylabel="mean AUC of the inner splits")
ax.set_title("one line for each fold; point: the chosen C")
print({run.record.fold: chosen_costs(run.record) for run in runs})
