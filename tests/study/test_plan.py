"""Plans: every arm's work, each piece of it once, keyed by what decides it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from featx.errors import InputError, TaskError, WeightsError
from featx.features import FeatureStore
from featx.jobs.job_state import KINDS, StudyJob
from featx.study.plan import Plan
from featx.study.studies import plan_study

PAPER_ARMS = """
[sources.eyes]
manifest = "eyes/manifest.csv"
training = { epochs = 2 }
[arms.A]
weights = "random"
finetune = true
[arms.B]
weights = "random"
sources = ["eyes"]
[arms.C]
weights = "random"
sources = ["eyes"]
finetune = true
"""
FROZEN = '[arms.frozen]\nweights = "random"\n'


def plan(path: Path, tmp_path: Path) -> Plan:
    return plan_study(path, output=tmp_path / "out", cache=tmp_path / "cache")


def kinds(jobs: tuple[StudyJob, ...]) -> dict[str, int]:
    return dict(Counter(job.kind for job in jobs))


def digests(planned: Plan, kind: str) -> set[str]:
    return {job.digest for job in planned.jobs if job.kind == kind}


def test_arms_share_work(
    tmp_path: Path, write_study: Callable[..., Path], make_data: Callable[..., Path]
) -> None:
    make_data(tmp_path / "eyes", 16)
    planned = plan(write_study(PAPER_ARMS), tmp_path)
    # B and C share the training on the eyes; A and C are fine-tuned on two folds each.
    assert kinds(planned.jobs) == {"source": 1, "finetune": 4, "extract": 3, "svm": 3, "report": 1}


def test_jobs_come_after_those_they_need(
    tmp_path: Path, write_study: Callable[..., Path], make_data: Callable[..., Path]
) -> None:
    make_data(tmp_path / "eyes", 16)
    planned = plan(write_study(PAPER_ARMS), tmp_path)
    seen: set[str] = set()
    for job in planned.jobs:
        assert job.kind in KINDS
        assert seen.issuperset(job.needs)
        assert set(job.takes.values()) <= set(job.needs)
        seen.add(job.digest)
    assert len(seen) == len(planned.jobs)


def test_missing_groups_and_doubtful_labels_are_warned_of(
    tmp_path: Path, write_study: Callable[..., Path], data: Path
) -> None:
    data.write_text(data.read_text().replace(",group", ",lesion").replace("0.png,melanoma", "0.png,melanom"))
    path = write_study(FROZEN)
    groups, near = plan(path, tmp_path).warnings
    assert groups.startswith("skin, melanoma:rest: the manifest has no column 'group'")
    assert "'lesion' (12 values)" in groups
    assert "'melanom' (2 images, similar to 'melanoma')" in near
    with pytest.raises(TaskError, match="'melanom'"):
        plan_study(path, output=tmp_path / "out", cache=tmp_path / "cache", strict_labels=True)


def test_tasks_share_frozen_extractions_only(tmp_path: Path, write_study: Callable[..., Path]) -> None:
    path = write_study(FROZEN + '[arms.tuned]\nweights = "random"\nfinetune = true\n')
    path.write_text(path.read_text().replace('["melanoma:rest"]', '["melanoma:rest", "nevus:rest"]'))
    assert kinds(plan(path, tmp_path).jobs) == {"extract": 3, "svm": 4, "finetune": 4, "report": 1}


def test_fine_tuned_folds_share_a_folder_that_the_extraction_reads(
    tmp_path: Path, write_study: Callable[..., Path]
) -> None:
    planned = plan(write_study('[arms.tuned]\nweights = "random"\nfinetune = true\n'), tmp_path)
    tuned = [job for job in planned.jobs if job.kind == "finetune"]
    (extraction,) = (job for job in planned.jobs if job.kind == "extract")
    assert [job.arguments["folds"] for job in tuned] == [["1"], ["2"]]
    assert {job.arguments["output"] for job in tuned} == {extraction.arguments["weights"]}
    assert set(extraction.needs) == {job.digest for job in tuned}
    assert extraction.images == 2 * 24
    # Not asked for: as the networks were trained.
    assert extraction.arguments["image_size"] is extraction.arguments["precision"] is None


def test_arms_of_other_seeds_are_other_trainings(tmp_path: Path, write_study: Callable[..., Path]) -> None:
    arm = '[arms.{}]\nweights = "random"\nfinetune = true\n{}'
    text = "".join(
        arm.format(name, line) for name, line in (("a", ""), ("b", "seed = 0\n"), ("c", "seed = 1\n"))
    )
    jobs = [job for job in plan(write_study(text), tmp_path).jobs if job.kind == "finetune"]
    assert [job.arguments["seed"] for job in jobs] == [0, 0, 1, 1]
    assert {job.arguments["fold_seed"] for job in jobs} == {0}
    assert {job.arguments["weights"] for job in jobs} == {"random:0"}


def test_forced_precision_is_no_other_extraction(tmp_path: Path, write_study: Callable[..., Path]) -> None:
    before = plan(write_study(FROZEN), tmp_path)
    after = plan(write_study(FROZEN + "[extract]\nforce-precision = true\n"), tmp_path)
    assert digests(after, "extract") == digests(before, "extract")
    assert {job.arguments["force_precision"] for job in after.jobs if job.kind == "extract"} == {True}


def test_random_weights_follow_the_seed(tmp_path: Path, write_study: Callable[..., Path]) -> None:
    path = write_study(FROZEN)
    path.write_text("seed = 7\n" + path.read_text())
    jobs = plan(path, tmp_path).jobs
    assert [job.arguments["weights"] for job in jobs if job.kind == "extract"] == ["random:7"]
    assert all(job.arguments["seed"] == 7 for job in jobs if job.kind == "svm")


def test_a_backbone_may_have_a_weights_file_of_its_own(
    tmp_path: Path, write_study: Callable[..., Path]
) -> None:
    (tmp_path / "tiny.h5").write_bytes(b"weights")
    path = write_study('[weights.ours]\ntiny = "tiny.h5"\n[arms.one]\nweights = "ours"\n')
    before = plan(path, tmp_path)
    assert before.jobs[0].arguments["weights"] == str(tmp_path / "tiny.h5")
    (tmp_path / "tiny.h5").write_bytes(b"other weights")
    assert digests(plan(path, tmp_path), "extract").isdisjoint(digests(before, "extract"))
    (tmp_path / "tiny.h5").unlink()
    with pytest.raises(WeightsError, match=r"tiny\.h5: no such file or folder"):
        plan(path, tmp_path)


def test_what_changes_a_result_changes_the_digest(tmp_path: Path, write_study: Callable[..., Path]) -> None:
    path = write_study(FROZEN)
    text = path.read_text()
    before = plan(path, tmp_path)

    def changed(new: str) -> list[str]:
        path.write_text(new)
        after = plan(path, tmp_path)
        return [kind for kind in ("extract", "svm") if digests(after, kind) != digests(before, kind)]

    assert changed(text) == []
    assert changed(text.replace('name = "small"', 'name = "other"')) == []
    assert changed(text + "[extract]\nbatch-size = 8\n") == []
    assert changed(text + "[extract]\nviews = 2\n") == ["extract", "svm"]
    assert changed(text + '[svm]\npreset = "paper"\n') == ["svm"]
    assert changed(text.replace("kfold:2", "kfold:3")) == ["svm"]
    assert changed(text.replace("protocol", 'preparation = "atlas"\nprotocol')) == ["extract", "svm"]


def test_changed_pixels_change_the_digest(tmp_path: Path, write_study: Callable[..., Path]) -> None:
    path = write_study(FROZEN)
    before = plan(path, tmp_path)
    image = tmp_path / "skin" / "3.png"
    image.write_bytes(image.read_bytes() + b"\0")
    after = plan(path, tmp_path)
    for kind in ("extract", "svm", "report"):
        assert digests(before, kind).isdisjoint(digests(after, kind))


def test_a_moved_data_set_changes_nothing(tmp_path: Path, write_study: Callable[..., Path]) -> None:
    path = write_study(FROZEN)
    before = plan(path, tmp_path)
    (tmp_path / "skin").rename(tmp_path / "moved")
    path.write_text(path.read_text().replace("skin/manifest", "moved/manifest"))
    assert [job.digest for job in plan(path, tmp_path).jobs] == [job.digest for job in before.jobs]


def test_targets_have_reports_of_their_own(
    tmp_path: Path, write_study: Callable[..., Path], make_data: Callable[..., Path]
) -> None:
    make_data(tmp_path / "eyes", 16)
    more = '[targets.eyes]\nmanifest = "eyes/manifest.csv"\nprotocol = "holdout"\n'
    planned = plan(write_study(more + FROZEN), tmp_path)
    reports = [job for job in planned.jobs if job.kind == "report"]
    assert [job.name for job in reports] == ["skin", "eyes"]
    assert len({job.arguments["output"] for job in planned.jobs if job.kind == "svm"}) == 2


def test_several_backbones_make_rows_of_their_own(tmp_path: Path, write_study: Callable[..., Path]) -> None:
    path = write_study(FROZEN + '[arms.deep]\nweights = "random"\nbackbones = ["resnet50"]\n')
    path.write_text(path.read_text().replace('["tiny"]', '["tiny", "resnet50"]'))
    arms = [job.arguments["arm"] for job in plan(path, tmp_path).jobs if job.kind == "svm"]
    assert arms == ["frozen (tiny)", "frozen (resnet50)", "deep (resnet50)"]


def test_planned_comparisons_are_made_within_each_backbone_that_both_arms_have(
    tmp_path: Path, write_study: Callable[..., Path]
) -> None:
    path = write_study(FROZEN + '[arms.other]\ntitle = "Other"\nweights = "random:1"\nbackbones = "tiny"\n')
    (alone,) = (job for job in plan(path, tmp_path).jobs if job.kind == "report")
    assert alone.arguments["planned"] == []
    text = path.read_text().replace("backbones =", 'planned = [["other", "frozen"]]\nbackbones =', 1)
    path.write_text(text)
    (one,) = (job for job in plan(path, tmp_path).jobs if job.kind == "report")
    assert one.arguments["planned"] == [["Other", "frozen"]]
    assert one.digest != alone.digest
    path.write_text(text.replace('["tiny"]', '["tiny", "mobilenet_v2"]', 1))
    (two,) = (job for job in plan(path, tmp_path).jobs if job.kind == "report")
    assert two.arguments["planned"] == [["Other (tiny)", "frozen (tiny)"]]


def test_the_whole_paper_shares_its_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_data: Callable[..., Path]
) -> None:
    """Six arms, two networks, three tasks, 5x2 folds: each training and extraction once."""
    atlas = make_data(tmp_path / "atlas", 80)
    lines = atlas.read_text().splitlines()
    lines[1::3] = [line.replace("nevus", "basal cell carcinoma") for line in lines[1::3]]
    head, *rows = lines
    atlas.write_text("\n".join([f"{head},difficulty", *(f"{row},low" for row in rows)]) + "\n")
    monkeypatch.chdir(tmp_path)
    manifests = {"atlas": atlas, "retinopathy": make_data(tmp_path / "eyes", 16)}
    folders = {"output": tmp_path / "out", "cache": tmp_path / "cache", "manifests": manifests}
    with pytest.raises(WeightsError, match=r"imagenet-vgg-m\.mat: no such file"):
        plan_study("menegola2017", **folders)
    Path("imagenet-vgg-m.mat").write_bytes(b"weights")
    planned = plan_study("menegola2017", **folders)
    # Sources from random and ImageNet weights; A, C, E and F are tuned on ten folds of three tasks; B and D are frozen.
    assert kinds(planned.jobs) == {
        "source": 2 * 2,
        "finetune": 2 * 4 * 3 * 10,
        "extract": 2 * (4 * 3 + 2),
        "svm": 2 * 6 * 3,
        "report": 1,
    }
    assert {job.arguments["preparation"] for job in planned.jobs if job.kind == "extract"} == {"atlas"}


def test_frozen_networks_stand_or_fall_alone(tmp_path: Path, data: Path) -> None:
    jobs = plan_study("depth", output=tmp_path, cache=tmp_path, manifests={"lesions": data}).jobs
    extractions = [job for job in jobs if job.kind == "extract"]
    assert (len(extractions), [job.needs for job in extractions]) == (10, [()] * 10)
    assert all(len(job.needs) == 1 for job in jobs if job.kind == "svm")


def test_weights_that_nobody_publishes_are_told_before_anything_starts(
    tmp_path: Path, write_study: Callable[..., Path]
) -> None:
    with pytest.raises(
        WeightsError, match=r"no ImageNet weights are published for tiny; .*\[weights.imagenet\]"
    ):
        plan(write_study('[arms.frozen]\nweights = "imagenet"\n'), tmp_path)


def test_an_arms_training_wins_over_the_studys(tmp_path: Path, write_study: Callable[..., Path]) -> None:
    arms = "[finetune]\nepochs = 5\nbatch-size = 8\n[arms.tuned]\nfinetune = true\nweights = 'random'\n"
    planned = plan(write_study(arms + "training = { epochs = 9 }\n"), tmp_path)
    job = next(job for job in planned.jobs if job.kind == "finetune")
    assert (job.arguments["epochs"], job.arguments["batch_size"]) == (9, 8)


def test_devices_reach_the_jobs_and_decide_none_of_them(
    tmp_path: Path, write_study: Callable[..., Path], make_data: Callable[..., Path]
) -> None:
    make_data(tmp_path / "eyes", 16)
    plain = plan(write_study(PAPER_ARMS), tmp_path)
    options = 'device = "gpu:any"\nwait-gpu = 9000\ngpu-memory = 8000\nnice = 5\n'
    asked = plan(write_study(f"[extract]\n{options}[finetune]\n{options}{PAPER_ARMS}"), tmp_path)
    assert [job.digest for job in plain.jobs] == [job.digest for job in asked.jobs]
    for job in asked.jobs:
        if job.kind in {"source", "finetune", "extract"}:
            given = [job.arguments[key] for key in ("device", "wait_gpu", "gpu_memory", "nice")]
            assert given == ["gpu:any", 9000, 8000, 5]


@pytest.mark.parametrize("line", ["device = 'tpu'", "nice = 20", "own-process = true"])
def test_devices_that_cannot_be_are_refused(
    tmp_path: Path, write_study: Callable[..., Path], line: str
) -> None:
    for table in ("extract", "finetune"):
        with pytest.raises(InputError, match=table):
            plan(write_study(f"[{table}]\n{line}\n{FROZEN}"), tmp_path)


def test_drawn_data_sets_are_drawn_once(tmp_path: Path) -> None:
    path = tmp_path / "drawn.toml"
    path.write_text(
        'name = "drawn"\nbackbones = ["tiny"]\n'
        '[targets.skin]\ndrawn = { kind = "dermoscopy", images = 20, size = 16 }\n'
        'tasks = "malignant-vs-benign"\nprotocol = "kfold:2"\n' + FROZEN
    )
    manifest = Path(plan(path, tmp_path).jobs[0].arguments["manifest"])
    stamp = manifest.stat().st_mtime_ns
    assert plan(path, tmp_path).jobs[0].images == 20
    assert manifest.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("melanoma:rest", "carcinoma:rest", TaskError),
        ("skin/manifest.csv", "gone.csv", InputError),
        ("kfold:2", "kfold:many", InputError),
    ],
)
def test_bad_data_is_told_before_anything_starts(
    old: str, new: str, error: type[Exception], tmp_path: Path, write_study: Callable[..., Path]
) -> None:
    path = write_study(FROZEN)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(error):
        plan(path, tmp_path)
    assert not (tmp_path / "out").exists()


CLINIC = (
    '[targets.clinic]\nmanifest = "clinic/manifest.csv"\ntasks = ["melanoma:rest"]\nprotocol = "kfold:2"\n'
)
TUNED = '[arms.tuned]\nweights = "random"\nfinetune = true\n'


def with_clinic(path: Path, extra: str = "") -> Path:
    """Let the first target of a study test on the clinic."""
    added = f'protocol = "kfold:2"\ntest = ["clinic"]\nown_names = true\n{extra}'
    path.write_text(path.read_text().replace('protocol = "kfold:2"\n', added, 1))
    return path


def test_external_targets_are_extracted_by_jobs_that_the_svms_need(
    tmp_path: Path, write_study: Callable[..., Path], make_data: Callable[..., Path]
) -> None:
    make_data(tmp_path / "clinic", 20)
    jobs = plan(with_clinic(write_study(CLINIC + FROZEN + TUNED)), tmp_path).jobs
    # The frozen features of the clinic serve its own SVMs too; the networks tuned on the skin see it once for all folds.
    assert kinds(jobs) == {"finetune": 4, "extract": 5, "svm": 4, "report": 2}
    by_digest = {job.digest: job for job in jobs}
    svms = {job.name: job for job in jobs if job.kind == "svm"}
    needs = {name: [by_digest[key].name for key in job.needs] for name, job in svms.items()}
    assert needs["frozen on skin melanoma:rest"] == ["tiny random:0 of skin", "tiny random:0 of clinic"]
    assert needs["frozen on clinic melanoma:rest"] == ["tiny random:0 of clinic"]
    assert needs["tuned on skin melanoma:rest"] == [
        "tiny random:0, skin of skin, 2 folds",
        "tiny random:0, skin of clinic, 2 folds",
    ]
    arguments = svms["tuned on skin melanoma:rest"].arguments
    place = {"name": "clinic", "manifest": str(tmp_path / "clinic" / "manifest.csv"), "root": None}
    assert (arguments["test"], arguments["overlap"], arguments["own_names"]) == ([place], "refuse", True)
    assert "test" not in svms["tuned on clinic melanoma:rest"].arguments


def test_external_images_are_prepared_as_those_of_the_target(
    tmp_path: Path, write_study: Callable[..., Path], make_data: Callable[..., Path]
) -> None:
    make_data(tmp_path / "clinic", 20)
    path = with_clinic(write_study(CLINIC + 'preparation = "center-square"\n' + FROZEN))
    found = [job for job in plan(path, tmp_path).jobs if job.kind == "extract" and "of clinic" in job.name]
    assert sorted(job.arguments["preparation"] for job in found) == ["center-square", "resize"]


def test_a_study_without_external_targets_has_the_jobs_that_it_had(
    tmp_path: Path, write_study: Callable[..., Path], make_data: Callable[..., Path]
) -> None:
    make_data(tmp_path / "clinic", 20)
    path = write_study(CLINIC + FROZEN)
    before = plan(path, tmp_path)
    (svm,) = (job for job in before.jobs if job.kind == "svm" and "skin" in job.name)
    assert not {"test", "overlap", "own_names"} & {*svm.identity, *svm.arguments}
    after = plan(with_clinic(path), tmp_path)
    assert digests(after, "extract") == digests(before, "extract")
    assert len(digests(after, "svm") & digests(before, "svm")) == 1
    dropped = plan(with_clinic(write_study(CLINIC + FROZEN), 'overlap = "drop"\n'), tmp_path)
    assert len(digests(after, "svm") & digests(dropped, "svm")) == 1


def write_features(tmp_path: Path, data: Path) -> None:
    """Write features of all images, in a file beside the study."""
    ids = [line.partition(".")[0] for line in data.read_text().splitlines()[1:]]
    np.savez(tmp_path / "derm.npz", ids=ids, features=np.random.default_rng(0).normal(size=(len(ids), 4)))


def test_an_arm_of_given_features_needs_no_network(
    tmp_path: Path, write_study: Callable[..., Path], data: Path
) -> None:
    write_features(tmp_path, data)
    path = write_study('[arms.derm]\nfeatures = "derm.npz"\n')
    path.write_text(path.read_text().replace('backbones = ["tiny"]\n', ""))
    planned = plan(path, tmp_path)
    assert kinds(planned.jobs) == {"svm": 1, "report": 1}
    (job,) = [job for job in planned.jobs if job.kind == "svm"]
    (store,) = job.arguments["features"]
    assert FeatureStore(store).images == 24
    assert job.identity["features"] == [FeatureStore(store).digest]
    path.write_text(path.read_text().replace("derm.npz", Path(store).relative_to(tmp_path).as_posix()))
    assert digests(plan(path, tmp_path), "svm") == {job.digest}


def test_an_arm_of_given_features_is_compared_with_every_backbone(
    tmp_path: Path, write_study: Callable[..., Path], data: Path
) -> None:
    write_features(tmp_path, data)
    path = write_study(FROZEN + '[arms.derm]\nfeatures = "derm.npz"\n')
    text = path.read_text().replace('["tiny"]', '["tiny", "mobilenet"]\nplanned = [["derm", "frozen"]]')
    path.write_text(text)
    planned = plan(path, tmp_path)
    assert kinds(planned.jobs) == {"extract": 2, "svm": 3, "report": 1}
    assert planned.jobs[-1].arguments["planned"] == [
        ["derm", "frozen (tiny)"],
        ["derm", "frozen (mobilenet)"],
    ]


def test_bad_features_of_an_arm_are_named(
    tmp_path: Path, write_study: Callable[..., Path], data: Path
) -> None:
    path = write_study('[arms.derm]\nfeatures = "derm.npz"\n')
    with pytest.raises(InputError, match=r"`arms.derm.features` = .*derm.npz.*No such file"):
        plan(path, tmp_path)
    np.savez(tmp_path / "derm.npz", ids=["0"], features=[[1.0]])
    with pytest.raises(InputError, match=r"23 of 24 images .* have no row"):
        plan(path, tmp_path)


FUSED = """
[arms.frozen]
weights = "random"
[arms.tuned]
weights = "random"
finetune = true
[arms.derm]
features = "derm.npz"
[arms.both]
fuse = ["frozen", "derm", "tuned"]
method = "stack"
"""


def test_a_fused_arm_takes_the_features_of_its_members(
    tmp_path: Path, write_study: Callable[..., Path], data: Path
) -> None:
    write_features(tmp_path, data)
    planned = plan(write_study(FUSED), tmp_path)
    assert kinds(planned.jobs) == {"extract": 2, "finetune": 2, "svm": 4, "report": 1}
    jobs = {job.arguments["arm"]: job for job in planned.jobs if job.kind == "svm"}
    both = jobs["both"]
    (store,) = jobs["derm"].arguments["features"]
    assert both.takes["features"] == (
        jobs["frozen"].takes["features"],
        store,
        jobs["tuned"].takes["features"],
    )
    assert (both.arguments["fuse"], both.arguments["member"]) == ("stack", ["frozen", "derm", "tuned"])
    assert set(both.needs) == {*jobs["frozen"].needs, *jobs["tuned"].needs}
    seen: set[str] = set()
    for job in planned.jobs:
        assert seen.issuperset(job.needs)
        seen.add(job.digest)
    other = write_study(FUSED.replace("stack", "concat"), "other")
    assert len(digests(plan(other, tmp_path), "svm") & digests(planned, "svm")) == 3


def test_a_fused_arm_runs_for_each_backbone_that_its_members_have(
    tmp_path: Path, write_study: Callable[..., Path], data: Path
) -> None:
    arms = """
[arms.frozen]
weights = "random"
[arms.small]
weights = "random:1"
backbones = ["tiny"]
[arms.both]
fuse = ["frozen", "small"]
"""
    path = write_study(arms)
    path.write_text(path.read_text().replace('["tiny"]\n[targets', '["tiny", "mobilenet"]\n[targets'))
    jobs = {job.arguments["arm"]: job for job in plan(path, tmp_path).jobs if job.kind == "svm"}
    assert set(jobs) == {
        "frozen (tiny)",
        "frozen (mobilenet)",
        "small (tiny)",
        "both (tiny)",
        "both (mobilenet)",
    }
    assert jobs["both (mobilenet)"].takes["features"] == (
        jobs["frozen (mobilenet)"].takes["features"],
        jobs["small (tiny)"].takes["features"],
    )


def test_a_learning_curve_is_part_of_the_svms_alone(tmp_path: Path, write_study: Callable[..., Path]) -> None:
    path = write_study(FROZEN)
    plain = plan(path, tmp_path)
    path.write_text(path.read_text() + "[svm]\ntrain_fraction = [0.5, 1]\nshots = 2\ntrain-seeds = 3\n")
    curved = plan(path, tmp_path)
    assert digests(curved, "extract") == digests(plain, "extract")
    assert not digests(curved, "svm") & digests(plain, "svm")
    (job,) = (one for one in curved.jobs if one.kind == "svm")
    asked = {key: job.arguments[key] for key in ("train_fraction", "shots", "train_seeds")}
    assert asked == {"train_fraction": (0.5, 1.0), "shots": (2.0,), "train_seeds": 3}
    path.write_text(path.read_text().replace('weights = "random"', 'weights = "random"\nfinetune = true'))
    with pytest.raises(InputError, match=r"`svm.shots` = .*arms.frozen is fine-tuned"):
        plan(path, tmp_path)
