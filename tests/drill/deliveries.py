"""Events on their way, and outputs at their end: mistakes inside, a receiver that is away, a disk that is full."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.drill.cameras import RtspCamera, one_camera, unused_port
from tests.drill.child import Child, child, decoded, expect, lines, namespace
from tests.drill.table import Table
from tests.receivers import Posts, web_receiver

_SMALL_DISK: Final = 'mount -t tmpfs -o size=1m tmpfs "{0}"'
_OFTEN: Final = ("--set", "events.min_seconds=0.3", "--set", "events.update_s=0.5", "--set", "stream.health_s=1")
_FRAMES: Final = 40


def deliveries(table: Table, folder: Path, clip: Path) -> None:
    """Try what may keep events from their receiver, and files from being finished."""
    with one_camera(clip) as camera:
        _mistakes(table, folder / "mistakes", camera)
        _full_queue(table, folder / "queue", camera)
    _raising_close(table, folder / "raising_close", clip)


@contextmanager
def _telling(table: Table, folder: Path, camera: RtspCamera, port: int, queue: Path, **more: list[str]) -> Iterator[Child]:
    """Watch a camera, and post its events to a port; they are also written into the folder."""
    receivers = ("--set", f"events.webhooks=[{{url: 'http://127.0.0.1:{port}/hook'}}]", "--set", f"events.queue={queue}")
    told = ("--events", folder / "events.jsonl")
    with child(table.machine, folder, "--source", camera.url(), *told, *receivers, *_OFTEN, **more) as run:  # type: ignore[arg-type]
        yield run


def _written(folder: Path) -> set[tuple[str, int]]:
    """Return which records of events are in the file so far."""
    return {(each["event_id"], each["sequence"]) for each in lines(folder / "events.jsonl") if each["type"] == "event"}


def _arrived(*posts: Posts) -> set[tuple[str, int]]:
    """Return which records of events were posted so far."""
    return {(each["event_id"], each["sequence"]) for some in posts for each in some.records if each["type"] == "event"}


def _mistakes(table: Table, folder: Path, camera: RtspCamera) -> None:
    promised = "said once, tried again, every event arrives"
    with table.case("a mistake in what posts events, twice", promised) as row:
        with (
            web_receiver() as posts,
            _telling(
                *(table, folder, camera, int(posts.url.split(":")[2].split("/")[0]), folder / "events.db"),
                faults=["raising_carrier=2"],
            ) as run,
        ):
            run.wait_for("an event", lambda: _written(folder))
            before = _written(folder)
            run.wait_for("its post", lambda: before <= _arrived(posts))
            run.leave()
        said = [line for line in run.log.splitlines() if "internal error, ZeroDivisionError" in line and "WARNING" in line]
        expect(len(said) == 1, f"said {len(said)} times")
        row.saw(f"{said[0].split('WARNING')[1].strip()}; {len(_arrived(posts))} records arrived")


def _full_queue(table: Table, folder: Path, camera: RtspCamera) -> None:
    promised = "events arrive while it is full; health says how many wait; nothing is lost once there is room"
    with table.case("the disk of the queue is full, then the receiver is away, then both are back", promised) as row:
        disk = folder / "disk"
        disk.mkdir(parents=True)
        port = unused_port()
        inside = namespace("m", _SMALL_DISK.format(disk))
        with _telling(table, folder, camera, port, disk / "events.db", inside=inside) as run:
            with web_receiver(port) as first:
                run.wait_for("a post", lambda: _arrived(first))
                others = Path(f"/proc/{run.process.pid}/root{disk}/others")
                _fill(others)
                run.wait_for("an error", lambda: "events cannot be kept" in run.log)
                known = len(_arrived(first))
                run.wait_for("a post beside a full disk", lambda: len(_arrived(first)) > known)
            run.wait_for("health", lambda: "events wait: the connection was refused" in run.log)
            expect("events cannot be kept" in run.log.split("events wait:")[-1], "health does not name the disk")
            others.unlink()
            before = _written(folder)
            with web_receiver(port) as second:
                run.wait_for("all events", lambda: before <= _arrived(first, second))
                run.wait_for("the disk", lambda: "the queue is on disk again" in run.log)
                run.leave()
        errors = [line for line in run.log.splitlines() if "ERROR" in line]
        expect(all("cannot be kept" in line for line in errors), f"errors: {errors}")
        row.saw(f"{len(before)} records, all arrived; {errors[0].split('ERROR')[1].strip()}".replace(str(disk), ""))


def _fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)


def _raising_close(table: Table, folder: Path, clip: Path) -> None:
    promised = "exit code 5, one error; the other video is finished"
    with table.case("a video with a mistake in closing it, before another", promised) as row:
        folder.mkdir(parents=True)
        for name in ("one.mp4", "two.mp4"):
            (folder / name).write_bytes(clip.read_bytes())
        sources = ("--source", folder / "one.mp4", "--source", folder / "two.mp4")
        arguments = (*sources, "--output", folder / "out", "--max-frames", str(_FRAMES))
        with child(table.machine, folder, *arguments, faults=["raising_close=1"]) as run:
            code = run.wait_for_end()
        expect(code == 5, f"exit code {code}: {run.last_words}")
        expect("RaisingVideo: internal error" in run.last_words, f"said: {run.last_words}")
        count = decoded(folder / "out" / "two.mp4")
        expect(count == _FRAMES, f"{count} of {_FRAMES} frames")
        row.saw(f"5, {run.last_words}; {count} of {_FRAMES} frames of the other")
