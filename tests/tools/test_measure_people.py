import json
from pathlib import Path

import pytest

from tests.conftest import DEMO
from tests.tools.loading import only_line, runner

LABELS = {
    "every": 5,
    "people": {
        "taker": {"centre_xy": [320, 150], "changes": [[0, "mask"]]},
        "nobody": {"centre_xy": [5, 350], "changes": [[0, "mask"]]},
    },
}


@pytest.mark.slow
def test_metrics_of_a_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels, out = tmp_path / "labels.json", tmp_path / "people.json"
    labels.write_text(json.dumps(LABELS))
    result = runner("measure_people", capsys)("--source", DEMO, "--labels", labels, "--json", out)
    assert result.returncode == 0, result.stderr
    figures = json.loads(out.read_text())[str(DEMO)]
    assert figures["ids"] == 3
    assert figures["tracked_min"] == pytest.approx(3 * 5.96 / 60, abs=0.005)
    assert figures["events"] == 2
    assert figures["steady_switches"] == 1
    assert figures["raw_switches"] >= 1
    assert figures["found"] + figures["missed"] == 60
    assert figures["missed"] >= 30
    assert "steady_accuracy" in result.stdout


@pytest.mark.slow
def test_false_alarms_per_hour_where_nobody_should_be_bare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The demo has two bare people: counted as false alarms, because the user says that nobody is bare."""
    out = tmp_path / "people.json"
    result = runner("measure_people", capsys)("--expect-none", DEMO, "--json", out)
    assert result.returncode == 0, result.stderr
    figures = json.loads(out.read_text())
    assert len(figures[str(DEMO)]["false_alarms"]) == len(figures["all"]["false_alarms"]) == 2
    assert figures["all"]["false_alarms_per_hour"] == pytest.approx(2 * 3600 / 5.96, rel=0.01)
    assert "false_alarms_per_hour" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "no video file is given; give --source or --expect-none"),
        (["--source", str(DEMO), "--alarms", "none.json"], 2, "none.json: not a file of true alarms"),
        (["--source", "none.mp4"], 3, "none.mp4: no such file"),
        (["--source", str(DEMO), "--labels", "none.json"], 2, "none.json: not a file of people labels"),
        (["--source", str(DEMO), "--set", "tracking.enabled=false"], 2, "tracking.enabled is false"),
    ],
)
def test_errors(arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = runner("measure_people", capsys)(*arguments)
    assert result.returncode == code
    assert said in only_line(result)
