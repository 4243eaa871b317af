import json
from pathlib import Path

import pytest

from maskstream.errors import ConfigError
from maskstream.evaluation.tracking_metrics import LabelledPerson, PeopleLabels, measure
from maskstream.types import Label
from tests.conftest import ROOT
from tests.tracking.made import frame_at, output_with, person

FIXTURE = ROOT / "tests" / "fixtures" / "masks_on_and_off.json"


def test_the_labels_of_the_clip_are_read() -> None:
    labels = PeopleLabels.read(FIXTURE)
    assert labels.every == 5
    by_name = {each.name: each for each in labels.people}
    assert set(by_name) == {"left", "front", "back", "right", "painted"}
    assert [by_name["left"].label(frame) for frame in (0, 39, 40, 134, 135, 245, 250)] == [
        *(Label.NO_MASK, Label.NO_MASK, Label.MASK, Label.MASK, Label.NO_MASK, Label.MASK, None)
    ]
    assert {by_name["painted"].label(frame) for frame in range(260)} == {Label.MASK}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"every": 5}',
        '{"every": 5, "people": {"a": {}}}',
        '{"every": "x", "people": {}}',
        '{"every": 1e999, "people": {}}',
        "[" * 100_000,
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="not a file of people labels"):
        PeopleLabels.read(path)
    with pytest.raises(ConfigError):
        PeopleLabels.read(tmp_path / "missing.json")


def test_switches_answers_and_ids_are_counted() -> None:
    results = []
    for index in range(100):
        steady = Label.NO_MASK if index >= 52 else Label.MASK
        face = person(1 if index < 80 else 2, steady, x=100)
        own = Label.NO_MASK if index >= 50 or index % 10 == 5 else Label.MASK
        object.__setattr__(face, "label", own)
        results.append(output_with(frame_at(index, fps=10), [face]).result)
    truth = LabelledPerson("one", (100.0, 200.0), ((0, Label.MASK), (50, Label.NO_MASK)))
    found = measure(results, [], PeopleLabels(5, (truth,)))
    assert found.tracked_min == pytest.approx(9.8 / 60, abs=1e-3)
    assert (found.raw_switches, found.steady_switches, found.true_switches) == (11, 1, 1)
    assert (found.ids, found.id_switches, found.missed) == (2, 1, 0)
    assert found.labelled == 20
    assert found.raw_right == 20 - 5
    assert found.steady_right == 20 - 1
    json.dumps(found.to_json())


def test_no_results_have_no_switches() -> None:
    found = measure([], [])
    assert found.to_json()["raw_switches_per_min"] == 0.0
