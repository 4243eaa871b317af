"""The program itself with a store: faults at its start, and a run that is killed."""

import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from subprocess import DEVNULL

import pytest

from maskstream.store.store import Store
from tests.command_lines import ROOT, Forked, run
from tests.conftest import DEMO
from tests.receivers import wait_until
from tests.slowness import LONGEST_S
from tests.store.made import CHEAP
from tests.video_files import repeated

QUICK = ("--set", "detector.short_side=96", "--set", "events.labels=[mask, no_mask]", "--set", "events.min_evidence=0")


def command(folder: Path, *options: str, source: Path = DEMO) -> list[str]:
    return [
        sys.executable,
        str(ROOT / "run_stream.py"),
        "--source",
        str(source),
        "--quiet",
        "--set",
        f"store.folder={folder}",
        *options,
    ]


def make_damaged(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be one" * 200)


def make_newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=99")


@pytest.mark.parametrize(
    ("fault", "code", "why"),
    [
        (make_damaged, 5, "it is damaged (file is not a database)"),
        (make_newer, 2, "the store has schema 99, and this program supports"),
    ],
    ids=["damaged", "newer"],
)
def test_a_store_that_cannot_be_used_ends_the_start(fault: object, code: int, why: str, tmp_path: Path) -> None:
    Store(tmp_path, cost=CHEAP).close()
    path = tmp_path / "maskstream.db"
    fault(path)  # type: ignore[operator]
    before = path.read_bytes()
    done = run(command(tmp_path), text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert done.stderr.startswith(f"{path}: ")
    assert why in done.stderr
    assert path.read_bytes() == before


def open_events(folder: Path) -> list[str]:
    """Return the ids of the events that are stored and have not ended."""
    if not (folder / "maskstream.db").exists():
        return []
    with Store(folder, cost=CHEAP) as store:
        return [event.event_id for event in store.events.page(cameras=None, is_open=True).events]


@pytest.mark.slow
def test_the_next_run_ends_the_events_of_a_killed_run(tmp_path: Path) -> None:
    clip = repeated(DEMO, 20, tmp_path / "clip.mp4")  # two minutes, so that it does not end before it is killed
    with Forked(command(tmp_path, "--realtime", *QUICK, source=clip), stdout=DEVNULL, stderr=DEVNULL) as killed:
        wait_until(lambda: open_events(tmp_path) != [])
        killed.send_signal(signal.SIGKILL)
        assert killed.wait(LONGEST_S) == -signal.SIGKILL
    event_id, *_ = open_events(tmp_path)  # one that was open when it was killed
    assert run(command(tmp_path, "--max-frames", "2", *QUICK, source=clip)).returncode == 0
    with Store(tmp_path, cost=CHEAP) as store:
        event = store.events.get(event_id)
        assert event is not None
        assert (event.is_open, event.record["cause"]) == (False, "interrupted")
        assert store.events.open_count() == 0
        assert {each.ended_utc is None for each in store.states.page(cameras=None).states} == {False}
