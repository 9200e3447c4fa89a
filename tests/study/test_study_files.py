"""Which studies are shipped, and what is given beside a study file."""

from pathlib import Path

import pytest

from featx.errors import ConfigError
from featx.study.study_files import read_study, shipped_studies


def test_the_shipped_studies() -> None:
    assert shipped_studies() == (
        "benchmark-2017",
        "demo",
        "depth",
        "finetuned-2017",
        "isic2016",
        "menegola2017",
        "menegola2017-released",
        "menegola2017-released-224",
        "real-mini",
        "recipe-2017",
    )


@pytest.mark.parametrize("name", shipped_studies())
def test_every_shipped_study_loads(name: str) -> None:
    study = read_study(name)
    assert study.name == name
    assert study.title


def test_manifests_can_be_replaced(tmp_path: Path) -> None:
    study = read_study("demo", {"dermoscopy": tmp_path / "mine.csv"})
    assert study.targets["dermoscopy"].manifest == str(tmp_path / "mine.csv")
    assert study.targets["dermoscopy"].drawn is None
    assert study.sources["retina"].drawn is not None
    with pytest.raises(ConfigError, match="no source or target skin; known: retina, dermoscopy"):
        read_study("demo", {"skin": tmp_path / "mine.csv"})


def test_weights_given_beside_the_file_are_taken_for_those_of_imagenet(tmp_path: Path) -> None:
    kept = read_study("menegola2017").weights["imagenet"]["vgg_m"]
    study = read_study("menegola2017", weights={"vgg16": tmp_path / "vgg16.h5"})
    assert study.weights["imagenet"] == {"vgg_m": kept, "vgg16": str(tmp_path / "vgg16.h5")}
    with pytest.raises(ConfigError, match="no backbone resnet50; known: vgg_m, vgg16"):
        read_study("menegola2017", weights={"resnet50": tmp_path / "a.h5"})


def test_weights_that_no_arm_would_take_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no arm has ImageNet weights of tiny, .*leave it out"):
        read_study("demo", weights={"tiny": tmp_path / "a.h5"})
