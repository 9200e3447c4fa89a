"""The comparison of an exported model with featx."""

from __future__ import annotations

import numpy as np
import pytest

from featx.deploy.exports.export_check import CheckImages, compare, images_of_run, synthetic_images
from featx.deploy.run_model import read_models
from featx.errors import ExportError, RunError

IMAGES = CheckImages("images of m", ("a", "b", "c"), np.zeros((3, 4, 4, 3), np.uint8), {"b": {"red": 0.5}})
WANTED = np.array([[0.1], [0.5], [40.0]])


@pytest.fixture(scope="module")
def final(place):
    return read_models(place.final.path)[0]


def runner(scores, probabilities=None):
    """Give the outputs of three images, batch by batch."""
    rest = [np.asarray(scores, np.float32), np.asarray(probabilities, np.float32)]

    def run(pixels):
        given = [one[: len(pixels)] for one in rest if one.ndim]
        rest[:] = [one[len(pixels) :] if one.ndim else one for one in rest]
        return dict(zip(("score", "probability"), given, strict=False))

    return run


def test_equal_values_agree(final):
    svm = final.svm
    found = compare(runner(WANTED, svm.probabilities(WANTED)), IMAGES, WANTED, svm, calibrated=True)
    assert (found.images, found.source) == (3, "images of m")
    assert found.scores < 1e-6
    assert found.probabilities < 1e-6
    assert found.recorded < 1e-6


@pytest.mark.parametrize(
    "off", [[2e-4, 0, 0], [0, 0, 5e-3], [0, float("nan"), 0]], ids=["small", "large", "nan"]
)
def test_a_difference_beyond_the_limit_is_an_error(final, off):
    values = WANTED + np.array(off)[:, None]
    name = "abc"[int(np.flatnonzero(np.array(off) != 0)[0])]
    with pytest.raises(
        ExportError, match=rf"other decision values than featx: .* for image {name} .*nothing was written"
    ):
        compare(runner(values), IMAGES, WANTED, final.svm, calibrated=False)


def test_a_difference_is_relative_beyond_1(final):
    found = compare(runner(np.array([[0.1], [0.5], [40.003]])), IMAGES, WANTED, final.svm, calibrated=False)
    assert found.scores == pytest.approx(3e-3 / 40, rel=0.01)
    assert found.probabilities is None


def test_small_decision_values_must_agree_too(final):
    """An SVM with a small C has values of 1e-5; others of that size are no agreement."""
    small = WANTED * 1e-6
    found = compare(runner(small * (1 + 1e-4)), IMAGES, small, final.svm, calibrated=False)
    assert 0 < found.scores < 1e-4
    with pytest.raises(ExportError, match="other decision values than featx"):
        compare(runner(small[::-1]), IMAGES, small, final.svm, calibrated=False)


def test_other_probabilities_and_other_shapes_are_errors(final):
    right = final.svm.probabilities(WANTED)
    with pytest.raises(ExportError, match="other predicted probabilities"):
        compare(runner(WANTED, right + 2e-4), IMAGES, WANTED, final.svm, calibrated=True)
    with pytest.raises(ExportError, match="difference inf"):
        compare(runner(np.hstack([WANTED, WANTED])), IMAGES, WANTED, final.svm, calibrated=False)


def test_images_are_those_of_the_test_set_else_of_the_training_set(place, final):
    (fold,) = read_models(place.folds[0].path)
    options = {"root": None, "allow_outside": False}
    found = images_of_run(fold, place.manifest, 5, **options)
    tested = {row.id: row.scores["red"] for row in fold.run.predictions}
    assert len(found.ids) == 5
    assert {name: found.recorded[name]["red"] for name in found.ids} == {
        name: tested[name] for name in found.ids
    }
    assert found.pixels.shape == (5, 32, 32, 3)
    every = images_of_run(final, place.manifest, 99, **options)
    assert len(every.ids) == 24
    assert every.recorded == {}


def test_a_manifest_of_other_images_is_refused(final, tmp_path):
    (tmp_path / "other.csv").write_text("image,label\nz.png,red\n")
    with pytest.raises(
        RunError, match=r"other.csv: has no image of the test set or training set of .*leave --manifest out"
    ):
        images_of_run(final, tmp_path / "other.csv", 5, root=None, allow_outside=False)


def test_synthetic_images_have_the_input_size(final):
    found = synthetic_images(final, 3)
    assert found.pixels.shape == (3, 32, 32, 3)
    assert len({image.tobytes() for image in found.pixels}) == 3
