"""What is wrong with a study is said before its first job, with file, key and value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featx.data import Fold, Folds, write_folds
from featx.errors import ConfigError, FeatxError, WeightsError
from featx.study import plan as ready
from featx.study.studies import plan_study, run_study, study_overview
from featx.study.study_inputs import found_here, layer_problems
from featx_cli.main import run

FROZEN = '[arms.frozen]\nweights = "random"\n'
TUNED = '[arms.tuned]\nweights = "random"\nfinetune = true\n'
EYES = '[sources.eyes]\nmanifest = "skin/manifest.csv"\n'
BOTH = '[arms.both]\nweights = "random"\nsources = ["eyes"]\n'


@pytest.fixture
def faulty(
    tmp_path: Path, write_study: Callable[..., Path], fake_worker: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Write a study with some text of it, and of its manifest, replaced."""
    monkeypatch.setenv("FEATX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(tmp_path / "nothing"))
    monkeypatch.setattr(ready, "layer_problems", found_here)

    def write(arms: str, *replaced: tuple[str, str], rows: tuple[str, str] = ("", "")) -> Path:
        path = write_study(arms)
        text = path.read_text()
        for old, new in replaced:
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)
        manifest = tmp_path / "skin" / "manifest.csv"
        manifest.write_text(manifest.read_text().replace(*rows))
        return path

    return write


def told(verb: str, path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a verb that has to refuse a study, and see that nothing of it has begun."""
    output = path.parent / "out"
    assert run(["study", verb, str(path), "--output", str(output)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert not output.exists()
    assert not list((path.parent / "fake").iterdir())
    return line


def save_fold(path: Path, train: list[int], test: list[int]) -> None:
    """Write a fold file of one fold."""
    parts = (tuple(str(number) for number in part) for part in (train, test))
    write_folds(path, Folds("mine", 0, (Fold("1", *parts),)))


@pytest.mark.parametrize(
    ("arms", "replaced", "message"),
    [
        (FROZEN, [('"tiny"]', '"tiny"]\nstrata = ["difficulty"]')], "`strata` = 'difficulty': target skin: {}/manifest.csv has no such column"),
        (FROZEN, [("skin/manifest.csv", "gone.csv")], "`targets.skin.manifest` = '{}/../gone.csv'"),
        (FROZEN, [("melanoma:rest", "carcinoma:rest")], "`targets.skin.tasks` = 'carcinoma:rest': {}/manifest.csv: no image has the label carcinoma"),
        (FROZEN, [("melanoma:rest", "melanoma-vs-benign-vs-keratosis")], "`targets.skin.tasks` = 'melanoma-vs-benign-vs-keratosis': no task"),
        (FROZEN, [("kfold:2", "kfold:13")], "`targets.skin.protocol` = 'kfold:13': kfold:13 needs at least 13 groups"),
        (FROZEN, [("kfold:2", "5-fold")], "`targets.skin.protocol` = '5-fold': no protocol '5-fold'"),
        (FROZEN, [("kfold:2", "leaking.json")], "`targets.skin.protocol` = '{}/../leaking.json': fold 1: training image "),
        (FROZEN, [("kfold:2", "foreign.json")], "`targets.skin.protocol` = '{}/../foreign.json': fold 1 has 1 images"),
        (FROZEN, [("kfold:2", "narrow.json")], "`targets.skin.protocol` = '{}/../narrow.json': fold 1: no validation set can be taken from its training set"),
        (FROZEN, [('"random"', '"imagenet-file"')], "`arms.frozen.weights` = 'imagenet-file': unknown weights source; did you mean 'imagenet'?"),
        (FROZEN, [('"random"', '"random:one"')], "`arms.frozen.weights` = 'random:one': weights 'random:one': the seed must be an integer"),
        (FROZEN, [('"random"', '"imagenet"')], "`arms.frozen.weights` = 'imagenet': no ImageNet weights are published for tiny"),
        (FROZEN, [('"random"', '"preset"')], "`arms.frozen.weights` = 'preset': no preset is published for tiny"),
        (FROZEN, [('"random"', '"gone.h5"')], "`arms.frozen.weights` = '{}/../gone.h5': {}/../gone.h5: no such file or folder"),
        (FROZEN, [('"random"', '"./skin"')], "`arms.frozen.weights` = '{}': {}: holds no run of `featx finetune`"),
        (FROZEN + "[weights.ours]\n", [('"random"', '"ours"')], "`arms.frozen.weights` = 'ours': the table [weights.ours] has no weights for tiny"),
        (FROZEN + "[weights.ours]\ntiny = 'imagnet'\n", [('"random"', '"ours"')], "`weights.ours.tiny` = 'imagnet': unknown weights source; did you mean 'imagenet'?"),
        (FROZEN, [('"random"', '"imagenet"'), ("tiny", "mobilenet_0.25")], "`arms.frozen.weights` = 'imagenet': no ImageNet weights of mobilenet_0.25: "),
        (FROZEN, [('"random"', '"preset"'), ("tiny", "vit_b16_hub")], "`arms.frozen.weights` = 'preset': no preset of vit_b16_hub: "),
        (FROZEN + "[extract]\nimage-size = 15\n", [], "`extract.image_size` = 15: image size 15 is too small for tiny; the minimum is 16 px"),
        (FROZEN + "[extract]\nlayers = 'fc7'\n", [], "`extract.layers` = 'fc7': tiny has no layer 'fc7'; similar names: "),
        (FROZEN + "[extract]\npool = 'cls'\n", [], "`extract.pool` = 'cls': "),
        (FROZEN + "[extract]\npool = 'mean'\n", [], "`extract`: The 'pool' parameter must be one of avg, "),
        (FROZEN + "[extract]\nengine = 'onnx'\n", [], "`extract`: The 'engine' parameter must be one of auto, "),
        (FROZEN + "[extract]\nengine = 'openvino'\ndevice = 'gpu'\n", [], "`extract.engine` = 'openvino': The engine 'openvino' runs on the CPU only"),
        (FROZEN + "[extract]\nengine = 'openvino'\nprecision = 'bfloat16'\n", [("tiny", "mobilenet_v2")], "`extract.precision` = 'bfloat16': mobilenet_v2 in bfloat16 "),
        (TUNED + "[finetune]\nprecision = 'mixed_bfloat16'\n[extract]\nengine = 'openvino'\n", [("tiny", "mobilenet_v2")], "`extract.precision` = 'bfloat16': mobilenet_v2 "),
        (TUNED + "[finetune]\nimage-size = 8\n", [], "`finetune.image_size` = 8: image size 8 is too small"),
        (TUNED + "training = {{ image-size = 8 }}\n", [], "`arms.tuned.training.image_size` = 8: image size 8 is too small"),
        (TUNED + "[finetune]\nfinal-weights = [1, 2, 3]\n", [], "`finetune.final_weights` = (1.0, 2.0, 3.0): The 'final_weights' parameter must be one number"),
        (EYES + BOTH + "[sources.eyes.training]\nimage-size = 8\n", [], "`sources.eyes.training.image_size` = 8: image size 8 is too small"),
        (EYES + BOTH, [("[sources.eyes]", "[sources.eyes]\ntask = 'a:b'")], "`sources.eyes.task` = 'a:b': {}/manifest.csv: no image has the label a, b"),
        (EYES + BOTH, [('["eyes"]', '["eye"]')], "`arms.both.sources` names 'eye', which the study does not have; did you mean 'eyes'? It has eyes"),
        (FROZEN + "backbones = 'vgg16'\n", [], "`arms.frozen.backbones` names 'vgg16', which the study does not have; it has tiny"),
    ],
)  # fmt: skip
def test_a_fault_is_named_before_the_first_job(
    arms: str,
    replaced: list[tuple[str, str]],
    message: str,
    faulty: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_fold(tmp_path / "leaking.json", [0, 1, 2, 4, 5], [3, 6, 7])
    save_fold(tmp_path / "foreign.json", [0, 1, 4, 5], [2, 3, 6, 7, 99])
    save_fold(tmp_path / "narrow.json", [0, 2], [4, 6])
    path = faulty(arms.replace("{{", "{").replace("}}", "}"), *replaced)
    wanted = message.replace("{}/..", str(tmp_path)).replace("{}", str(tmp_path / "skin"))
    line = told("plan", path, capsys)
    assert line.startswith(f"featx: error: study {path}: {wanted}")
    assert told("run", path, capsys) == line


@pytest.mark.parametrize(
    ("protocol", "svm", "rows", "message"),
    [
        ("holdout", "", (",train", ",learn"), "`targets.skin.protocol` = 'holdout': holdout needs the splits train, val"),
        ("holdout", "", (",test", ",train"), "`targets.skin.protocol` = 'holdout': holdout needs images in the split test"),
        ("kfold:2", "group_scores = 'mean'", (",group,", ",patient,"), "`svm.group_scores` = 'mean': target skin: "),
    ],
)  # fmt: skip
def test_a_column_that_lacks_is_named(
    protocol: str,
    svm: str,
    rows: tuple[str, str],
    message: str,
    faulty: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = faulty(f"{FROZEN}[svm]\n{svm}\n", ("kfold:2", protocol), rows=rows)
    line = told("plan", path, capsys)
    assert line.startswith(f"featx: error: study {path}: {message}")
    assert told("run", path, capsys) == line


def test_groups_of_several_classes_cannot_be_scored(
    faulty: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    svm = "[svm]\ngroup-scores = 'mean'\n"
    path = faulty(FROZEN + svm, ("melanoma:rest", "labels"), rows=("1.png,melanoma", "1.png,scar"))
    assert "several classes (p0, p10), and the task has no positive class" in told("plan", path, capsys)


def test_a_stratum_must_be_in_every_target(
    faulty: Callable[..., Path],
    make_data: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = make_data(tmp_path / "other", 16)
    head, *lines = other.read_text().splitlines()
    other.write_text("\n".join([f"{head},difficulty", *(f"{line},low" for line in lines)]))
    target = (
        '[targets.other]\nmanifest = "other/manifest.csv"\ntasks = "melanoma:rest"\nprotocol = "kfold:2"\n'
    )
    path = faulty(target + FROZEN, ('"tiny"]', '"tiny"]\nstrata = ["difficulty"]'))
    line = told("plan", path, capsys)
    assert "`strata` = 'difficulty': target skin: " in line
    assert "target other" not in line


def test_all_faults_are_named_at_once(
    faulty: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = faulty(
        FROZEN.replace("random", "imagenet-file") + "[extract]\nimage-size = 15\n",
        ('"tiny"]', '"tiny"]\nstrata = ["age", "sex"]'),
        ("melanoma:rest", "carcinoma:rest"),
    )
    line = told("plan", path, capsys)
    assert f"study {path}: 5 problems: (1) `targets.skin.tasks`" in line
    places = [line.index(text) for text in ("'age'", "'sex'", "'imagenet-file'", "`extract.image_size`")]
    assert places == sorted(places)


def test_a_file_tells_all_its_bad_keys(write_study: Callable[..., Path]) -> None:
    path = write_study('[arms.a]\nsources = ["x"]\n[arms.b]\nbackbones = ["y"]\n')
    with pytest.raises(ConfigError, match=r"`arms.a.sources` names 'x'.*; `arms.b.backbones` names 'y'"):
        plan_study(path)
    path = write_study("wieghts = 3\n[arms.a]\nfinetne = true\n")
    with pytest.raises(
        ConfigError, match=r"`targets.skin.wieghts`: unknown key.*; `arms.a.finetne`: unknown key"
    ):
        plan_study(path)


def test_weights_are_fetched_before_the_first_job(
    faulty: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = faulty(FROZEN, ('"random"', '"imagenet"'), ('"tiny"', '"mobilenet_0.25", "mobilenet_0.50"'))
    monkeypatch.delenv("FEATX_WEIGHTS_DIR")
    monkeypatch.setenv("KERAS_HOME", str(path.parent / "keras"))
    asked: list[str] = []

    def fail(row: Any, progress: Any) -> Path:
        asked.append(row.name)
        raise WeightsError(f"{row.name} cannot be downloaded")

    monkeypatch.setattr(ready, "fetch_weights", fail)
    assert run(["study", "plan", str(path), "--output", str(path.parent / "out")]) == 0
    capsys.readouterr()
    assert asked == []
    assert "(2) `arms.frozen.weights` = 'imagenet': mobilenet_0.50 cannot be" in told("run", path, capsys)
    assert asked == ["mobilenet_0.25", "mobilenet_0.50"]


def test_what_is_done_needs_nothing_any_more(
    faulty: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = faulty(FROZEN + "[extract]\nlayers = ['conv1']\n")
    folders = {"output": path.parent / "out", "cache": path.parent / "cache"}
    asked: list[Any] = []
    monkeypatch.setattr(ready, "layer_problems", lambda *question: asked.append(question) or ())
    study_overview(path, ready=True, **folders)
    study_overview(path, **folders)
    run_study(path, **folders)
    assert asked == [(["tiny"], ("conv1",), "avg", None)] * 2
    study_overview(path, ready=True, **folders)
    run_study(path, **folders)
    assert len(asked) == 2


@pytest.mark.slow
def test_layers_are_looked_up_in_a_process_of_its_own() -> None:
    (problem,) = layer_problems(["tiny"], ["fc7"], "avg", 32)
    assert str(problem).startswith("tiny has no layer 'fc7'; similar names: ")


def test_a_lookup_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featx.study.study_inputs.sys.executable", "false")
    with pytest.raises(FeatxError, match="the layers of tiny cannot be listed: no message"):
        layer_problems(["tiny"], ["fc7"], "avg", 32)


TESTED = (
    '[targets.clinic]\nmanifest = "clinic/manifest.csv"\ntasks = ["melanoma:rest"]\nprotocol = "kfold:2"\n'
)
OWN = 'protocol = "kfold:2"\ntest = ["clinic"]\nown_names = true\n[arms'


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        (("own_names = true\n", ""), "`targets.skin.test` = 'clinic': {}: 20 of 20 images of the external test set 'clinic' overlap with the training data: 20 same id as a training image (0 in "),
        (('["clinic"]', '["clinik"]'), "`targets.skin.test` names 'clinik', which the study does not have; did you mean 'clinic'? It has skin, clinic"),
        (('["clinic"]', '["skin"]'), "`targets.skin.test` names the target itself; name other targets, or leave it out"),
        (('["clinic"]', '["clinic", "clinic"]'), "`targets.skin.test`: must not repeat a name"),
        (("own_names = true", "overlap = 'keep'"), "`targets.skin.overlap`"),
    ],
)  # fmt: skip
def test_a_fault_of_an_external_test_set_is_named_before_the_first_job(
    replaced: tuple[str, str],
    message: str,
    faulty: Callable[..., Path],
    make_data: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    manifest = make_data(tmp_path / "clinic", 20)
    path = faulty(TESTED + FROZEN)
    text = path.read_text().replace(
        'protocol = "kfold:2"\n[targets.clinic]', OWN.replace("[arms", "[targets.clinic]")
    )
    assert replaced[0] in text
    path.write_text(text.replace(*replaced, 1))
    assert message.replace("{}", str(manifest)) in told("plan", path, capsys)


def test_an_external_test_set_without_a_class_of_the_task_is_named(
    faulty: Callable[..., Path],
    make_data: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    manifest = make_data(tmp_path / "clinic", 20)
    table = manifest.read_text().replace("melanoma", "a").replace("nevus", "b")
    manifest.write_text(table)
    other = TESTED.replace("melanoma:rest", "a:b")
    path = faulty(other + FROZEN, ("melanoma:rest", "melanoma:nevus"))
    path.write_text(path.read_text().replace('"kfold:2"\n', '"kfold:2"\ntest = ["clinic"]\n', 1))
    line = told("plan", path, capsys)
    assert "`targets.skin.test` = 'clinic'" in line
    assert "no image of this external test set has a class of the task 'melanoma:nevus'" in line
