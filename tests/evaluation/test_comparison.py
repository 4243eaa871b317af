"""`compare` on sets of images whose results can be computed manually."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskstream.errors import ConfigError
from maskstream.evaluation.comparison import COMPARED_METRICS, compare
from maskstream.evaluation.metrics import IOU_THRESHOLDS, draw_images, interval, one_to_one_ratios, resample
from maskstream.evaluation.outputs import COUNTS_FILE, METRICS_FILE, Run, read_run
from maskstream.evaluation.predictions import Prediction
from maskstream.evaluation.scoring import score
from maskstream.types import Label
from tests.evaluation.sets import SETTINGS, face, found, labels, predictions

A, B, FAR = (0, 0, 40, 40), (100, 0, 140, 40), (60, 60, 80, 80)
LOOSE_A = (0, 0, 40, 16)  # IoU 0.4 with A
IMAGES = 40
RIGHT = (found(A), found(B, Label.NO_MASK))
MISSED_B = (found(A),)
MASK_FOR_BARE = (found(A), found(B))
MEASURED = {"data": {"sha256": "0" * 64}, "settings": {"box": "face", "incorrect_as": "no_mask"}}


def run(name: str, *answers: tuple[Prediction, ...]) -> Run:
    """Score answers to images, each with a mask in A and no mask in B."""
    scored = score(
        labels(*[(face(A), face(B, Label.NO_MASK))] * len(answers)), predictions(*answers), replace(SETTINGS, bootstrap=0)
    )
    return Run(Path("runs") / name, "0" * 64, "face", "no_mask", scored.names, scored.one_to_one)


def difference(*runs: Run, iou: float = 0.5, bootstrap: int = 500) -> dict[str, Any]:
    result: dict[str, Any] = compare(runs, [iou], bootstrap).to_json()["runs"][-1]["difference"][f"{iou:.2f}"]
    return result


def test_the_difference_is_of_the_images_that_one_system_gets_right() -> None:
    worse = run("worse", *[MASK_FOR_BARE] * 10, *[(*MISSED_B, found(FAR))] * 10, *[RIGHT] * 20)
    better = run("better", *[RIGHT] * IMAGES)
    comparison = compare([worse, better], [0.5], 500).to_json()
    assert (comparison["pictures"], comparison["bootstrap"]) == (IMAGES, 500)
    first, second = comparison["runs"]
    assert [first["name"], second["name"]] == ["worse", "better"]
    assert first["difference"] is None
    assert first["figures"]["0.50"]["end_to_end_accuracy"] == 0.75
    changes = {name: each["value"] for name, each in second["difference"]["0.50"].items()}
    assert set(changes) == set(COMPARED_METRICS)
    expected = {"end_to_end_accuracy": 20 / 80, "found": 10 / 80, "judged_rightly": 10 / 70, "precision": 20 / 60, "recall": 0}
    expected |= {"specificity": 20 / 40, "fpr": -10 / 40, "false_per_image": -10 / 40, "face_precision": 10 / 80}
    assert {name: changes[name] for name in expected} == pytest.approx(expected, abs=2e-6)
    swapped = difference(better, worse)
    assert {name: -each["value"] for name, each in swapped.items()} == changes
    assert swapped["found"]["ci95"] == [-bound for bound in second["difference"]["0.50"]["found"]["ci95"][::-1]]


def test_each_threshold_has_its_own_counts() -> None:
    loose, tight = run("loose", *[(found(LOOSE_A), RIGHT[1])] * IMAGES), run("tight", *[RIGHT] * IMAGES)
    assert difference(loose, tight, iou=0.3)["found"]["value"] == 0
    assert difference(loose, tight, iou=0.5)["found"]["value"] == 0.5


def test_identical_runs_differ_by_exactly_nothing() -> None:
    answers = [RIGHT, MISSED_B, MASK_FOR_BARE, ()] * 10
    for name, each in difference(run("one", *answers), run("other", *answers)).items():
        assert each == {"value": 0, "ci95": [0, 0], "certain": False}, name


def test_one_image_is_chance_and_many_are_not() -> None:
    right = run("right", *[RIGHT] * IMAGES)
    one = difference(right, run("one", MISSED_B, *[RIGHT] * (IMAGES - 1)))["end_to_end_accuracy"]
    assert one["value"] == -1 / 80
    assert one["ci95"][1] == 0
    assert not one["certain"]
    many = difference(right, run("many", *[MISSED_B] * 15, *[RIGHT] * (IMAGES - 15)))["end_to_end_accuracy"]
    assert many["ci95"][0] < many["value"] == -15 / 80 < many["ci95"][1] < 0
    assert many["certain"]


def test_images_hard_for_both_do_not_widen_the_interval() -> None:
    """Both miss B in the same 20 of 40 images, and one of them in 6 more."""
    first = run("first", *[MISSED_B] * 26, *[RIGHT] * 14)
    second = run("second", *[MISSED_B] * 20, *[RIGHT] * 20)
    paired = difference(first, second, bootstrap=2000)["found"]
    assert paired["value"] == 6 / 80
    # Per image the difference is 1/2 in 6 of 40: its mean varies by sqrt(0.15 * 0.85 / 40) / 2 = 0.028.
    assert paired["ci95"][1] - paired["ci95"][0] == pytest.approx(2 * 1.96 * 0.0282, rel=0.15)
    # Drawn apart, by sqrt((0.35 * 0.65 + 0.5 * 0.5) / 40) / 2 = 0.055: twice that, and zero is inside.
    apart = interval(_found(second, slice(2000, None)) - _found(first, slice(2000)))
    assert apart is not None
    assert apart[1] - apart[0] == pytest.approx(2 * 1.96 * 0.0546, rel=0.15)
    assert paired["certain"]
    assert apart[0] < 0 < apart[1]


def _found(of: Run, which: slice) -> np.ndarray[Any, np.dtype[np.float64]]:
    drawn = resample(draw_images(IMAGES, 4000)[which], of.one_to_one[:, IOU_THRESHOLDS.index(0.5)])
    return one_to_one_ratios(drawn, IMAGES)["found"]


def test_without_a_bootstrap_nothing_is_certain() -> None:
    each = difference(run("none", *[()] * 5), run("all", *[RIGHT] * 5), bootstrap=0)["found"]
    assert each == {"value": 1, "ci95": None, "certain": False}


def test_a_metric_undefined_in_one_run_has_no_difference() -> None:
    nothing_judged_mask = run("none", *[()] * 5)
    each = difference(run("all", *[RIGHT] * 5), nothing_judged_mask)
    assert each["precision"] == {"value": None, "ci95": None, "certain": False}


def test_names_tell_the_runs_apart() -> None:
    runs = [replace(run("", RIGHT), folder=Path(folder)) for folder in ("monday/ours", "tuesday/ours", "tuesday/clip")]
    assert [each["name"] for each in compare(runs, [0.5], 0).to_json()["runs"]] == ["monday/ours", "tuesday/ours", "tuesday/clip"]


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"labels_sha256": "1" * 64}, "labels"),
        ({"box": "head"}, "kinds of boxes"),
        ({"incorrect_as": "incorrect"}, "classes"),
    ],
)
def test_runs_with_other_labels_or_settings_are_refused(changed: dict[str, Any], what: str) -> None:
    first, other = run("first", RIGHT), replace(run("other", RIGHT), **changed)
    with pytest.raises(ConfigError) as caught:
        compare([first, run("second", RIGHT), other], [0.5], 10)
    assert str(caught.value) == f"runs/other: other {what} than runs/first; compare runs on the same labels"


def test_other_images_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^runs/two: other images than runs/one"):
        compare([run("one", RIGHT), run("two", RIGHT, RIGHT)], [0.5], 10)


def test_the_same_folder_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^runs/one: given twice; compare different runs$"):
        compare([run("one", RIGHT), run("two", RIGHT), run("x/../two", RIGHT)], [0.5], 10)


def write(folder: Path, metrics: object = MEASURED, **tables: np.ndarray[Any, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / METRICS_FILE).write_text(json.dumps(metrics))
    whole = {"names": np.array(["a.png"]), "one_to_one": np.zeros((1, 19, 5, 5), np.int64)}
    np.savez(folder / COUNTS_FILE, **(whole | tables))
    return folder


def test_a_run_is_read(tmp_path: Path) -> None:
    assert read_run(write(tmp_path)).names == ("a.png",)


@pytest.mark.parametrize(
    ("metrics", "tables"),
    [
        ([], {}),
        ({"data": 1.0}, {}),
        ({**MEASURED, "settings": {}}, {}),
        (MEASURED, {"names": np.array(["a.png", "b.png"])}),
        (MEASURED, {"one_to_one": np.zeros((1, 19, 5), np.int64)}),
        (MEASURED, {"one_to_one": np.full((1, 19, 5, 5), np.nan)}),
    ],
)
def test_results_that_lack_something_are_refused(
    tmp_path: Path, metrics: object, tables: dict[str, np.ndarray[Any, Any]]
) -> None:
    with pytest.raises(ConfigError, match="no results of a finished evaluation"):
        read_run(write(tmp_path, metrics, **tables))


@pytest.mark.parametrize("name", [METRICS_FILE, COUNTS_FILE])
def test_results_that_were_damaged_are_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path) / name
    whole = path.read_bytes()
    for damage in (b"", whole[:-10], whole[:10], b"\xff" * 50, whole.replace(b"a", b"\xff")):
        path.write_bytes(damage)
        with pytest.raises(ConfigError, match="no results of a finished evaluation"):
            read_run(tmp_path)
