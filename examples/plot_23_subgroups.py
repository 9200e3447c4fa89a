"""
Subgroups: is the model equally good for all?
=============================================

`subgroup_aucs` estimates the AUC in each level of a column of the manifest, and its difference from the level with the most
data. Patients with images in several levels are allowed for.
"""

import matplotlib.pyplot as plt
from synthetic_skin import TASK, draw, workspace

import featx
from featx.reporting import report_tables, to_frame
from featx.stats import holm, subgroup_aucs

manifest, work = draw("cohort", images=240, seed=2), workspace()
featx.extract(manifest, backbone="tiny", weights="random", arm="cohort", cache=work / "cache")
featx.train_svm(manifest, arm="cohort", task=TASK, protocol="5x2", cache=work / "cache", output=work / "runs")
table = featx.read_runs(work / "runs" / "cohort")
table[["fold", "id", "class", "score:melanoma", "stratum:site"]].head()

# %%
# Every column of the manifest that is neither image, label, group nor split is in the runs. Each image was tested in five
# folds and counts once.

found = subgroup_aucs(
    table["stratum:site"],
    table["class"] == "melanoma",
    table["score:melanoma"],
    images=table["id"],
    groups=table["group"],
    folds=table["fold"],
)
fig, ax = plt.subplots(figsize=(6, 2.4))
for row, one in enumerate(found):
    auc = one.estimate
    ax.errorbar(
        auc.value, row, xerr=[[auc.value - auc.low], [auc.high - auc.value]], fmt="o", color="C0", capsize=3
    )
ax.set_yticks(
    range(len(found)), [f"{one.level}: {one.images} images, {one.groups} patients" for one in found]
)
ax.set(xlabel="AUC, 95 % confidence interval", ylim=(-0.6, len(found) - 0.4))
fig.tight_layout()

# %%
# The test is of the gap to the reference level, and p values are corrected for the number of levels. A level with fewer
# than ten patients of a class is shown, but not tested.

for one in found:
    print(
        f"{one.level}: AUC {one.estimate.value:.3f}",
        "(reference)" if one.reference else "; ".join(one.warnings),
    )
tested = [one for one in found if one.p == one.p]
for one, p in zip(tested, holm([one.p for one in tested]), strict=True):
    print(f"{one.level}: difference {one.difference.value:+.3f}, adjusted p = {p:.2f}")

# %%
# ``featx report runs --subgroup site`` (`featx.report` with ``subgroups=["site"]``) has the same as a table, and one of
# sensitivity and specificity.

(made,) = [one for one in report_tables(work / "runs" / "cohort") if one.name == "subgroups"]
to_frame(made).iloc[:, :6]
