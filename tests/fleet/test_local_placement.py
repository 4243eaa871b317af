"""What local processes promise beyond the contract of all placements."""

from pathlib import Path

import pytest

from maskstream.errors import ConfigError
from maskstream.fleet.local_placement import LocalPlacement
from maskstream.fleet.placement import WorkerDied, WorkerSpec
from tests.slowness import LONGEST_S, promised

COUNTER = WorkerSpec("counter", "tests.fleet.targets:Counter")


def test_a_worker_starts_soon_and_loads_no_models(tmp_path: Path) -> None:
    with LocalPlacement(tmp_path / "workers") as placement:
        with promised(within_s=0.3):
            worker = placement.start(COUNTER)
            assert worker.call("add").result(LONGEST_S) == 1
        assert {"torch", "cv2", "pydantic", "ray"}.isdisjoint(worker.call("loaded").result(LONGEST_S))


def test_a_folder_whose_path_is_longer_than_that_of_a_socket(tmp_path: Path) -> None:
    with LocalPlacement(tmp_path / ("long" * 50)) as placement:
        before = len(list(Path("/proc/self/fd").iterdir()))
        worker = placement.start(COUNTER)
        assert worker.call("add").result(LONGEST_S) == 1
        worker.end()
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_others_may_not_write_to_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "workers"
    with LocalPlacement(folder) as placement:
        placement.start(COUNTER).call("add").result(LONGEST_S)
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / "counter.spec").stat().st_mode & 0o777 == 0o600
    assert not (folder / "counter.spec").exists()
    folder.chmod(0o777)
    with pytest.raises(ConfigError, match="others may write to this folder of workers; choose another one, or chmod 700 "):
        LocalPlacement(folder)


def test_a_newer_program_takes_over(tmp_path: Path) -> None:
    outliving = WorkerSpec("counter", "tests.fleet.targets:Counter", outlives=True)
    with LocalPlacement(tmp_path) as first, LocalPlacement(tmp_path) as second:
        older = first.start(outliving)
        assert older.call("add").result(LONGEST_S) == 1
        newer = second.find("counter")
        assert newer is not None
        assert newer.call("add").result(LONGEST_S) == 2
        with pytest.raises(WorkerDied, match="another program has connected to worker counter") as died:
            older.call("add").result(LONGEST_S)
        assert not died.value.has_ended
        assert newer.call("add").result(LONGEST_S) == 3
        newer.end()


def test_a_log_holds_the_latest_lines_of_a_worker_that_writes_much(tmp_path: Path) -> None:
    with LocalPlacement(tmp_path) as placement:
        worker = placement.start(COUNTER)
        for _ in range(20):
            worker.call("write", "x" * 99, 10_000).result(LONGEST_S)
        worker.call("write", "the end", 1).result(LONGEST_S)
        assert (tmp_path / "counter.log").stat().st_size < 17 * 2**20
        worker.call("write", "after it", 1).result(LONGEST_S)
        assert (tmp_path / "counter.log").read_text().endswith("xxx\nthe end\nafter it\n")
        worker.end()
        placement.start(COUNTER).call("add").result(LONGEST_S)
        assert (tmp_path / "counter.log").read_text() == ""
        assert (tmp_path / "counter.previous.log").read_text().endswith("after it\n")
