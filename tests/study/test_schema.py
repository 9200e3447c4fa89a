"""Study files: the shipped ones are sound, and a bad key is named."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest

from featx.errors import ConfigError
from featx.study.schema import EXTRACT_KEYS, Study
from featx.study.study_files import read_study

ARM = '[arms.frozen]\nweights = "imagenet"\n'
DEEP = '[arms.deep]\nbackbones = "resnet50"\n[arms.both]\nfuse = ["frozen", "deep"]\n'


@pytest.mark.parametrize("name", ["menegola2017", "isic2016"])
def test_the_papers_arms(name: str) -> None:
    study = read_study(name)
    facts = {key: (arm.weights, arm.sources, arm.finetune) for key, arm in study.arms.items()}
    assert facts == {
        "A": ("random", (), True),
        "B": ("random", ("retinopathy",), False),
        "C": ("random", ("retinopathy",), True),
        "D": ("imagenet", (), False),
        "E": ("imagenet", (), True),
        "F": ("imagenet", ("retinopathy",), True),
    }
    assert study.backbones == ("vgg_m", "vgg16")
    assert study.svm["preset"] == "paper"
    assert study.finetune["recipe"] == "paper"
    assert study.sources["retinopathy"].training["recipe"] == "paper"
    assert study.sources["retinopathy"].preparation == "retina"


def test_the_released_atlas_has_the_papers_arms_tasks_and_folds() -> None:
    study, paper = read_study("menegola2017-released"), read_study("menegola2017")
    for name, arm in paper.arms.items():
        mine = study.arms[name]
        assert (mine.weights, mine.sources, mine.finetune) == (arm.weights, arm.sources, arm.finetune)
    tasks = tuple(task for target in study.targets.values() for task in target.tasks)
    assert tasks == paper.targets["atlas"].tasks
    assert [Path(target.protocol).name for target in study.targets.values()] == [
        f"protocol{number}.json" for number in (1, 2, 3)
    ]


def test_menegola_covers_the_three_protocols_of_the_atlas() -> None:
    atlas = read_study("menegola2017").targets["atlas"]
    assert atlas.tasks == ("malignant-vs-benign", "melanoma-vs-benign", "three-class")
    assert (atlas.protocol, atlas.preparation) == ("5x2", "atlas")


def test_depth_compares_ten_backbones() -> None:
    assert len(read_study("depth").backbones) == 10


def test_a_table_without_keys_has_the_defaults_of_the_verb(write_study: Callable[..., Path]) -> None:
    from featx.features import extract

    study = read_study(write_study(ARM))
    defaults = {name: item.default for name, item in inspect.signature(extract).parameters.items()}
    assert study.extract == {name: defaults[name] for name in EXTRACT_KEYS}
    assert study.svm == {"preset": "default", "missing": "fail"}


def test_options_of_a_preset_are_left_to_it_and_a_kept_study_may_hold_none(tmp_path: Path) -> None:
    study = read_study("menegola2017", {"atlas": tmp_path / "a.csv", "retinopathy": tmp_path / "r.csv"})
    kept = study.model_dump(mode="json")
    kept["svm"] |= {"loss": None, "costs": None}
    assert Study.model_validate(kept).svm == study.svm


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "task.toml").write_text("")
    (tmp_path / "folds.json").write_text("")
    (tmp_path / "recipe.toml").write_text("base = 'paper'\nepochs = 2\n")
    path = tmp_path / "mine.toml"
    path.write_text(
        """
        name = "mine"
        backbones = "tiny"
        [targets.skin]
        manifest = "skin.csv"
        root = "images"
        tasks = "task.toml"
        protocol = "folds.json"
        [sources.eyes]
        manifest = "/data/eyes.csv"
        training = { recipe = "recipe.toml", batch-size = 8 }
        [weights.ours]
        tiny = "tiny.weights.h5"
        [arms.one]
        weights = "ours"
        [arms.two]
        weights = "runs/finetuned"
        """
    )
    with pytest.raises(
        ConfigError,
        match=r"`sources\.eyes\.manifest`: is outside the folder .*'/data/eyes\.csv'",
    ):
        read_study(path)
    study = read_study(path, allow_outside=True)
    skin = study.targets["skin"]
    assert (skin.manifest, skin.root) == (str(tmp_path / "skin.csv"), str(tmp_path / "images"))
    assert (skin.tasks, skin.protocol) == ((str(tmp_path / "task.toml"),), str(tmp_path / "folds.json"))
    assert study.sources["eyes"].manifest == "/data/eyes.csv"
    assert study.sources["eyes"].training == {"recipe": str(tmp_path / "recipe.toml"), "batch_size": 8}
    assert study.weights == {"ours": {"tiny": str(tmp_path / "tiny.weights.h5")}}
    assert [arm.weights for arm in study.arms.values()] == ["ours", str(tmp_path / "runs" / "finetuned")]


def test_yaml_says_the_same(tmp_path: Path, write_study: Callable[..., Path]) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(
        "name: small\nbackbones: [tiny]\n"
        "targets: {skin: {manifest: skin/manifest.csv, tasks: ['melanoma:rest'], protocol: 'kfold:2'}}\n"
        "arms: {frozen: {weights: imagenet}}\n"
    )
    assert read_study(path) == read_study(write_study(ARM))


def test_a_study_reads_back_from_its_own_record() -> None:
    study = read_study("demo")
    assert Study.model_validate(study.model_dump(mode="json")) == study


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wieghts = 3\n" + ARM, r"`targets.skin.wieghts`: unknown key; known: "),
        (
            '[arms.frozen]\nwieghts = "imagenet"',
            r"`arms.frozen.wieghts`: unknown key; did you mean `weights`\?",
        ),
        ('[arms.frozen]\nfinetune = "perhaps"', r"`arms.frozen.finetune`: .*got 'perhaps'"),
        (
            '[arms.frozen]\nsources = ["eyes"]',
            r"`arms.frozen.sources` names 'eyes', which the study does not have",
        ),
        ("[arms.frozen]\ntraining = { epochs = 3 }", r"`arms.frozen.training` has no effect without"),
        ("[arms.frozen]\nseed = 3", r"`arms.frozen.seed` has no effect without"),
        (ARM + '[sources.skin]\nmanifest = "x.csv"', r"`sources` and `targets` both have 'skin'"),
        (ARM + "[sources.eyes]", r"`sources.eyes`: give either `manifest` or `drawn`"),
        (ARM + '[sources.eyes]\ndrawn = { kind = "feet" }', r"`sources.eyes.drawn.kind`: .*got 'feet'"),
        (ARM + '[sources.eyes]\ndrawn = { kind = "retina", imges = 9 }', r"did you mean `images`\?"),
        (
            ARM + "[finetune]\nepoch = 3",
            r"`finetune`: Unknown parameter 'epoch' of a training recipe; did you mean 'epochs'\?",
        ),
        (ARM + "[finetune]\nrecipe = 3", r"`finetune`: the recipe must be a name or a TOML file"),
        (ARM + '[finetune]\nrecipe = "old"', r"`finetune`: unknown training recipe 'old'"),
        (ARM + '[svm]\nloss = "log"', r"`svm`: .*'loss'"),
        (ARM + '[extract]\nlayer = "fc1"', r"`extract`: unknown key `layer`; did you mean `layers`\?"),
        (
            ARM + "[extract]\nviews = 0",
            r"`extract`: The 'views' parameter must be a whole number of at least 1. Got 0",
        ),
        (ARM + '[extract]\nlayers = ["a", "b"]', r"`extract`: The 'layers' parameter must name one layer"),
        (ARM + "[weights.ours]\nvgg16 = 'a.h5'", r"`weights.ours` names 'vgg16'"),
        ('[arms."a/b"]', r"`arms.a/b`: String should match pattern"),
        ('[arms.a]\ntitle = "same"\n[arms.same]', r"`arms`: two arms have the same title"),
        ("", r"`arms`: is missing"),
        (ARM + '[arms.a]\nfuse = ["frozen", "x"]', r"`arms.a.fuse` names 'x', which the study does not have"),
        (ARM + '[arms.a]\nfuse = "frozen"', r"`arms.a`: `fuse` needs two arms or more, got 'frozen' alone"),
        (ARM + '[arms.a]\nmethod = "stack"', r"`arms.a`: `method` has no effect without `fuse`"),
        (
            ARM + '[arms.a]\nfuse = ["frozen", "b"]\n[arms.b]\nfuse = ["frozen", "a"]',
            r"`arms.a.fuse` names 'b', which is a fused arm",
        ),
        (
            ARM + '[arms.b]\n[arms.a]\nfuse = ["frozen", "b"]\nweights = "random"',
            r"`weights` has no effect beside `fuse`",
        ),
        (
            '[arms.a]\nfeatures = "x.npz"\nfinetune = true',
            r"`arms.a`: `finetune` has no effect beside `features`",
        ),
    ],
)
def test_a_bad_key_is_named(text: str, message: str, write_study: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_study(write_study(text))
    assert "\n" not in str(caught.value)


def test_networks_are_needed_unless_every_arm_has_features(write_study: Callable[..., Path]) -> None:
    path = write_study('[arms.a]\nfeatures = ["x.npy", "x.csv"]\n')
    path.write_text(path.read_text().replace('backbones = ["tiny"]', ""))
    study = read_study(path)
    assert study.backbones_of("a") == ("",)
    assert study.arms["a"].features == tuple(str(path.parent / name) for name in ("x.npy", "x.csv"))
    assert Study.model_validate(study.model_dump(mode="json")) == study
    path.write_text(path.read_text() + ARM)
    with pytest.raises(ConfigError, match="`backbones` names no network"):
        read_study(path)


@pytest.mark.parametrize(
    ("planned", "message"),
    [
        ('[["frozen", "tuned"]]', r"`planned` names 'tuned', which the study does not have"),
        (
            '[["frozen", "other"], ["other", "frozen"]]',
            r"`planned` must compare two different arms, each pair once",
        ),
        ('[["frozen", "frozen"]]', r"`planned` must compare two different arms"),
        ('[["frozen", "deep"]]', r"`planned` compares 'frozen' and 'deep', which share no backbone"),
        ('[["frozen"]]', r"`planned.0.1`: is missing|`planned.0`"),
        ('["frozen:other"]', r"`planned.0`: "),
    ],
)
def test_planned_comparisons_are_of_two_arms_of_the_study(
    planned: str, message: str, write_study: Callable[..., Path]
) -> None:
    path = write_study(ARM + '[arms.other]\nbackbones = "tiny"\n[arms.deep]\nbackbones = "resnet50"\n')
    text = path.read_text().replace(
        'backbones = ["tiny"]', f'backbones = ["tiny", "vgg16", "resnet50"]\nplanned = {planned}'
    )
    path.write_text(
        text.replace('weights = "imagenet"\n', 'weights = "imagenet"\nbackbones = ["tiny", "vgg16"]\n')
    )
    with pytest.raises(ConfigError, match=message) as caught:
        read_study(path)
    assert "\n" not in str(caught.value)


def test_arms_with_one_backbone_each_are_compared_whichever_they_are(
    write_study: Callable[..., Path],
) -> None:
    path = write_study(ARM.replace("[arms.frozen]\n", '[arms.frozen]\nbackbones = "tiny"\n') + DEEP)
    text = path.read_text().replace(
        'backbones = ["tiny"]',
        'backbones = ["tiny", "resnet50"]\nplanned = [["deep", "frozen"], ["both", "deep"]]',
    )
    path.write_text(text)
    study = read_study(path)
    assert study.shared_backbones("deep", "frozen") == [("resnet50", "tiny")]
    assert study.shared_backbones("both", "deep") == [("", "resnet50")]


def test_an_unknown_backbone_is_named_with_those_like_it(write_study: Callable[..., Path]) -> None:
    path = write_study(ARM)
    path.write_text(path.read_text().replace('"tiny"', '"resnet5"'))
    with pytest.raises(ConfigError, match=r"`backbones`: unknown backbone 'resnet5'.*resnet50"):
        read_study(path)


def test_a_preparation_must_exist(write_study: Callable[..., Path]) -> None:
    path = write_study(ARM)
    path.write_text(path.read_text().replace("protocol", 'preparation = "crop"\nprotocol'))
    with pytest.raises(ConfigError, match=r"`targets.skin.preparation`: The preparation must be one of"):
        read_study(path)


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file"), ("a = ", "Invalid value")])
def test_an_unreadable_file(tmp_path: Path, content: str | None, reason: str) -> None:
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=f"mine.toml: cannot be read .*{reason}"):
        read_study(path)


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("targets.skin.manifest", 'targets.skin.manifest = "../skin.csv"'),
        ("targets.skin.root", 'targets.skin = {manifest = "skin.csv", root = "/"}'),
        ("targets.skin.tasks", 'targets.skin = {manifest = "skin.csv", tasks = "../task.toml"}'),
        ("arms.one.weights", 'targets.skin.manifest = "skin.csv"\narms.one.weights = "~/w.h5"'),
        ("finetune", 'targets.skin.manifest = "skin.csv"\nfinetune.recipe = "../recipe.toml"'),
    ],
)
def test_paths_that_lead_out_of_the_file_s_folder_are_refused(tmp_path: Path, key: str, line: str) -> None:
    (tmp_path / "task.toml").write_text("")
    (tmp_path / "recipe.toml").write_text("epochs = 2\n")
    (tmp_path / "study").mkdir()
    path = tmp_path / "study" / "mine.toml"
    more = "" if "arms" in line else "arms.one.weights = 'random'\n"
    path.write_text(f"name = 'mine'\nbackbones = 'tiny'\n{line}\n{more}")
    with pytest.raises(ConfigError, match=f"`{key}.*is outside the folder .*--allow-outside"):
        read_study(path)
    read_study(path, allow_outside=True)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.toml", "x." * 60_000 + "y = 1", "a dotted key has more than 32 parts"),
        ("a.yaml", "a: &a [1]\nb: [*a, *a]\n", r"line 2 has the alias \*a"),
        ("a.yaml", "[" * 500, "nested more than 32 levels deep"),
        ("a.toml", "x = " + "[" * 5000, "nested more than 32 levels deep"),
        ("a.toml", "#" * 300_000, "it has 300,000 bytes, more than the 262,144 that are read"),
    ],
)
def test_files_that_would_take_long_are_refused(tmp_path: Path, name: str, text: str, reason: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=rf"study .*{name}: cannot be read \(.*{reason}"):
        read_study(tmp_path / name)


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ('[arms.a]\nfuse = ["frozen", "b"]\n[arms.b]\nfuse = ["frozen", "a"]', "which is a fused arm"),
        ('[arms.a]\nfuse = ["frozen", "x"]', "which the study does not have"),
    ],
)
def test_a_plan_with_an_arm_that_cannot_be_fused_names_the_arm(
    arms: str, message: str, write_study: Callable[..., Path]
) -> None:
    path = write_study(ARM + arms)
    path.write_text('planned = [["a", "frozen"]]\n' + path.read_text())
    with pytest.raises(ConfigError, match=message):
        read_study(path)
