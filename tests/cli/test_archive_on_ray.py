"""`maskstream archive --ray` on three raylets: the same bytes as with local workers, also where workers are killed."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from maskstream.fleet.manifest import JobRecord, JobState, Manifest
from maskstream.types import Frame
from tests.cli.test_archive import QUICK, archive, has_stopped, running, same, write_clip
from tests.command_lines import ROOT
from tests.fleet.raylets import NODES, Raylets
from tests.fleet.raylets import running as running_raylets
from tests.slowness import LONGEST_S

pytestmark = pytest.mark.slow
CLIPS = 6
MACHINES = len(NODES)


@pytest.fixture(scope="module")
def raylets() -> Iterator[Raylets]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        with running_raylets() as cluster:
            yield cluster


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, demo_frames: list[Frame]) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for number in range(CLIPS):
        write_clip(folder / f"{number}.mp4", demo_frames[5 * number :][: 24 - number])
    return folder


@pytest.fixture(scope="module")
def reference(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of local workers."""
    output = tmp_path_factory.mktemp("reference") / "results"
    done = archive("--input", clips, "--output", output, "--workers", 2, *QUICK)
    assert (done.returncode, done.stderr) == (0, "")
    return output


def workers() -> list[psutil.Process]:
    """Return the processes of the workers; the raylets are children of this process."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if "".join(process.cmdline()[:1]).startswith("ray::ActorHost"):
                found.append(process)
    return found


def held(output: Path) -> list[psutil.Process]:
    """Stop the workers that are in the middle of a file, whose results are open, and return them."""
    found = []
    for worker in workers():
        with suppress(psutil.NoSuchProcess):
            if has_stopped(worker) and any(each.path.startswith(f"{output}/") for each in worker.open_files()):
                found.append(worker)
            else:
                worker.resume()
    return found


def one_was_killed(output: Path) -> bool:
    """Kill a worker in the middle of a file, and return whether there was one."""
    found = held(output)
    for worker in found[:1]:
        worker.kill()
    for worker in found[1:]:
        worker.resume()
    return bool(found)


def all_work(output: Path) -> bool:
    """Let the workers go on, once each machine's is in the middle of a file; until then those that are wait for the others."""
    found = held(output)
    if len(found) < MACHINES:
        return False
    for worker in found:
        worker.resume()
    return True


def records(output: Path) -> list[JobRecord]:
    with Manifest(output) as manifest:
        return list(manifest.records().values())


def test_workers_of_three_machines_give_the_same_bytes(clips: Path, reference: Path, raylets: Raylets, tmp_path: Path) -> None:
    output = tmp_path / "results"
    with running(output, "--input", clips, "--ray", raylets.address, *QUICK) as command:
        assert command.when(lambda: all_work(output))
        assert (command.process.wait(LONGEST_S), command.errors()) == (0, "")
    assert same(output, reference)
    assert len({record.worker for record in records(output)}) == MACHINES


def test_the_file_of_a_killed_worker_is_analysed_again(clips: Path, reference: Path, raylets: Raylets, tmp_path: Path) -> None:
    output = tmp_path / "results"
    with running(output, "--input", clips, "--ray", raylets.address, *QUICK) as command:
        assert command.when(lambda: all_work(output))
        assert command.when(lambda: one_was_killed(output))
        assert command.process.wait(LONGEST_S) == 0
    assert same(output, reference)
    assert {record.state for record in records(output)} == {JobState.DONE}
    assert sum(record.attempts for record in records(output)) > CLIPS


def test_files_of_a_lost_machine_are_analysed_by_the_others(
    clips: Path, reference: Path, raylets: Raylets, tmp_path: Path
) -> None:
    output = tmp_path / "results"
    with running(output, "--input", clips, "--ray", raylets.address, *QUICK) as command:
        assert command.when(lambda: all_work(output))
        raylets.kill_node("west")
        assert command.process.wait(LONGEST_S) == 0
    assert same(output, reference)
    assert sum(record.attempts for record in records(output)) > CLIPS
