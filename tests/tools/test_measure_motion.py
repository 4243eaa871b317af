import json
from pathlib import Path

import pytest

from tests.conftest import DEMO
from tests.tools.loading import only_line, runner


@pytest.mark.slow
def test_metrics_of_a_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The demo has faces all the time: nothing is saved, and nothing is different."""
    out = tmp_path / "motion.json"
    result = runner("measure_motion", capsys)("--source", DEMO, "--source", DEMO, "--json", out)
    assert result.returncode == 0, result.stderr
    metrics = json.loads(out.read_text())
    figures = metrics[str(DEMO)]
    assert figures["detections"] == figures["detections_with_rests"] == 50
    assert (figures["late_faces"], figures["changed_events"], figures["events"]) == (0, [], 2)
    assert 0 < figures["change_cpu_ms"] < figures["models_cpu_ms"]
    assert "late_max_s" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "no video file is given; give --source"),
        (["--source", "none.mp4"], 3, "none.mp4: no such file"),
        (["--source", str(DEMO), "--set", "tracking.enabled=false"], 2, "tracking.enabled is false"),
    ],
)
def test_errors(arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = runner("measure_motion", capsys)(*arguments)
    assert result.returncode == code
    assert said in only_line(result)
