"""A user without a home, as containers have them: everything works, and nobody is left with a folder named ~."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import DEMO, ROOT
from tests.slowness import LONGEST_S

NOBODY = 54321
"""A number that no user has."""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that this user may write to; those above it are not looked into by others."""
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, NOBODY, NOBODY)
        yield Path(folder)


def run_as_nobody(place: Path, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run it with an empty environment, by a user who may read everything: the checkout may lie where others may not look."""
    asked = [
        *("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"),
        *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
        *("env", "-i", f"TMPDIR={place}", f"PATH={os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE=1", "OMP_NUM_THREADS=1"),
        *(sys.executable, str(ROOT / "run_stream.py"), "--source", str(DEMO), "--max-frames", "2", *map(str, arguments)),
    ]
    return subprocess.run(asked, cwd=place, capture_output=True, text=True, timeout=LONGEST_S, check=False)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which only root can")


@pytest.mark.slow
@needs_root
def test_a_run_with_a_summary(place: Path) -> None:
    done = run_as_nobody(place, "--summary", place / "day.json")
    assert done.returncode == 0, done.stderr
    folder = place / f"maskstream-{NOBODY}"
    assert done.stderr.count(f"there is no home folder; {folder} is used, and may not exist at the next start") == 1
    assert "once" not in done.stderr
    assert sorted(path.name for path in place.iterdir()) == ["day.json", "day.png", folder.name]
    assert list((folder / "maskstream").glob("*.compiled")) != []


@needs_root
def test_a_queue_of_events_needs_a_place_that_lasts(place: Path) -> None:
    for setting, said in (("", "not set"), ("events.queue=~/q.db", "~/q.db")):
        more = ("--set", setting) if setting else ()
        done = run_as_nobody(place, "--quiet", "--set", "events.mqtt=mqtt://127.0.0.1:9", *more)
        assert (done.returncode, done.stderr) == (
            2,
            f"events.queue: {said}, and there is no home folder; set it to a file that outlasts the run\n",
        )
