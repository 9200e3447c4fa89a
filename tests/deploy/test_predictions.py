"""The verb `predict`: rows, refusals, unreadable images."""

from __future__ import annotations

from featx.deploy.predictions import predict


def test_the_images_of_a_fold_get_the_decision_values_of_its_run(place, tmp_path):
    run = place.folds[0]
    names = [row.id for row in run.predictions]
    done = place.predict(
        run.path, tmp_path / "p.csv", images=[place.home / "images" / f"{name}.png" for name in names]
    )
    found = {row["id"]: row for row in done.rows}
    for row in run.predictions:
        assert abs(found[row.id]["score:red"] - row.scores["red"]) < 1e-6
        assert abs(found[row.id]["probability:red"] - row.probabilities["red"]) < 1e-6
    print(done)
