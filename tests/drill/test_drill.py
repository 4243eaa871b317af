"""Run the drill, and check that it reports broken promises."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.drill.calibration import Calibration
from tests.drill.child import Broken, Child, expect
from tests.drill.table import Skipped, Table
from tests.slowness import LONGEST_S


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "cases"), [(["--core"], 8), (["--minutes", "2"], 40)], ids=["core", "all"])
def test_the_program_keeps_its_promises(rtsp_tools: None, tmp_path: Path, asked: list[str], cases: int) -> None:
    report = tmp_path / "report.md"
    command = [sys.executable, str(ROOT / "tools" / "fault_drill.py"), *asked, "--report", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3 * LONGEST_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert report.read_text().count("| pass |") >= cases
    assert "a fixed computation took" in report.read_text()


def test_a_table_with_a_broken_promise_has_not_passed(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table()
    with table.case("one", "1 + 1 is 2") as row:
        expect(1 + 1 == 2, "it is not")
        row.saw("2")
    with table.case("two", "a display"):
        raise Skipped("there is none")
    assert table.has_passed
    with table.case("three", "no | in a cell"):
        expect(False, "a | in it")
    with table.case("four", "no error in the drill"):
        raise KeyError("state")
    assert [row.result for row in table.rows] == ["pass", "skipped", "FAIL", "FAIL"]
    assert not table.has_passed
    assert table.markdown().splitlines()[4] == "| three | no \\| in a cell | a \\| in it | FAIL |"
    assert "KeyError" in capsys.readouterr().out


def test_a_table_without_cases_has_not_passed() -> None:
    assert not Table().has_passed


def test_a_child_that_does_not_reach_a_state_is_reported(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("said\n")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        child = Child(process, tmp_path, Calibration())
        with pytest.raises(Broken, match=r"not within 0\.2 s: source online; said"):
            child.wait_for_state("online", within_s=0.2)
        process.kill()
    with pytest.raises(Broken, match="ended with -9"):
        child.wait_for_frames(1)


def test_a_record_that_is_not_json_is_reported(tmp_path: Path) -> None:
    (tmp_path / "faces.jsonl").write_text('{"source": "a", "score": NaN}\n')
    with subprocess.Popen([sys.executable, "-c", ""]) as process, pytest.raises(Broken, match="NaN"):
        Child(process, tmp_path, Calibration()).records()
