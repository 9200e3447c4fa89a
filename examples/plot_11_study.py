"""
A study from Python
===================

A study file declares data, networks and arms. `run_study` does what is not done yet, in processes of its own, and reports.
The same call resumes after an interruption.
"""

import matplotlib.pyplot as plt
from synthetic_skin import draw, workspace

import featx

manifest, work = draw(), workspace()
text = f"""
name = "spots"
backbones = ["tiny"]

[targets.clinic]
manifest = "{manifest.relative_to(work)}"
tasks = ["melanoma:rest"]
protocol = "2x2"

[arms.plain]
weights = "random"

[arms.other-seed]
weights = "random:1"
"""
(work / "study.toml").write_text(text)
outcome = featx.run_study(work / "study.toml", output=work / "study", cache=work / "cache")
print(len(outcome.done), "jobs done,", len(outcome.reused), "reused,", len(outcome.failed), "failed")

# %%
# The report of the study is a page, tables and figures. Its main table as pandas:

(report,) = featx.report(work / "study", output=work / "report", figures=False, cache=work / "cache")
table = report.to_frame()
table

# %%
# The picture of it: mean AUC of each arm with its 95 % confidence interval.

fig, ax = plt.subplots(figsize=(6, 2))
ax.errorbar(
    table["mean"],
    table["arm"],
    xerr=[table["mean"] - table["low"], table["high"] - table["mean"]],
    fmt="o",
    capsize=4,
)
ax.set(xlabel="AUC", ylim=(-0.6, 1.6))
fig.tight_layout()

# %%
# The second call finds every job finished.

again = featx.run_study(work / "study.toml", output=work / "study", cache=work / "cache")
print(len(again.done), "jobs done,", len(again.reused), "reused")
