"""Delivery of events and closing of outputs: errors in the program, a receiver that is down, a full disk."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.drill.cameras import RtspCamera, one_camera
from tests.drill.child import Child, child, decoded, expect, lines, namespace
from tests.drill.table import Table
from tests.ports import free_port
from tests.receivers import Posts, web_receiver

_SMALL_DISK: Final = 'mount -t tmpfs -o size=1m tmpfs "{0}"'
_OFTEN: Final = ("--set", "events.min_seconds=0.3", "--set", "events.update_s=0.5", "--set", "stream.health_s=1")
_FRAMES: Final = 40


def deliveries(table: Table, folder: Path, clip: Path) -> None:
    """Run the cases in which events do not reach their receiver, or files are not finished."""
    with one_camera(clip) as camera:
        _internal_errors(table, folder / "errors", camera)
        _full_queue(table, folder / "queue", camera)
    _raising_close(table, folder / "raising_close", clip)


@contextmanager
def _sending(table: Table, folder: Path, camera: RtspCamera, port: int, queue: Path, **more: list[str]) -> Iterator[Child]:
    """Watch a camera, post its events to a port, and write them to the folder."""
    receivers = ("--set", f"events.webhooks=[{{url: 'http://127.0.0.1:{port}/hook'}}]", "--set", f"events.queue={queue}")
    events = ("--events", folder / "events.jsonl")
    with child(table.machine, folder, "--source", camera.url(), *events, *receivers, *_OFTEN, **more) as run:  # type: ignore[arg-type]
        yield run


def _written(folder: Path) -> set[tuple[str, int]]:
    """Return the event records in the file."""
    return {(each["event_id"], each["sequence"]) for each in lines(folder / "events.jsonl") if each["type"] == "event"}


def _arrived(*posts: Posts) -> set[tuple[str, int]]:
    """Return the event records that were posted."""
    return {(each["event_id"], each["sequence"]) for some in posts for each in some.records if each["type"] == "event"}


def _internal_errors(table: Table, folder: Path, camera: RtspCamera) -> None:
    promised = "logged once, retried, every event arrives"
    with table.case("the code that posts events raises an unexpected error, twice", promised) as row:
        with ExitStack() as running:
            posts = running.enter_context(web_receiver())
            port = urlsplit(posts.url).port or 0
            run = running.enter_context(_sending(table, folder, camera, port, folder / "events.db", faults=["raising_webhook=2"]))
            run.wait_for("an event", lambda: _written(folder))
            before = _written(folder)
            run.wait_for("its post", lambda: before <= _arrived(posts))
            run.leave()
        logged = [line for line in run.log.splitlines() if "internal error, ZeroDivisionError" in line and "WARNING" in line]
        expect(len(logged) == 1, f"logged {len(logged)} times")
        row.saw(f"{logged[0].split('WARNING')[1].strip()}; {len(_arrived(posts))} records arrived")


def _full_queue(table: Table, folder: Path, camera: RtspCamera) -> None:
    promised = (
        "events arrive while it is full; the health line has the number that waits; no event is lost when it has room again"
    )
    with table.case("the disk of events.queue is full, then the receiver is down, then both work again", promised) as row:
        disk = folder / "disk"
        disk.mkdir(parents=True)
        port = free_port()
        inside = namespace("m", _SMALL_DISK.format(disk))
        with _sending(table, folder, camera, port, disk / "events.db", inside=inside) as run:
            with web_receiver(port) as first:
                run.wait_for("a post", lambda: _arrived(first))
                others = Path(f"/proc/{run.process.pid}/root{disk}/others")
                _fill(others)
                run.wait_for("an error", lambda: "cannot be written" in run.log)
                known = len(_arrived(first))
                run.wait_for("a post while the disk is full", lambda: len(_arrived(first)) > known)
            run.wait_for("health", lambda: "events wait: the connection was refused" in run.log)
            expect("cannot be written" in run.log.split("events wait:")[-1], "the health line does not name the disk")
            others.unlink()
            before = _written(folder)
            with web_receiver(port) as second:
                run.wait_for("all events", lambda: before <= _arrived(first, second))
                run.wait_for("the disk", lambda: "the queue is on disk again" in run.log)
                run.leave()
        errors = [line for line in run.log.splitlines() if "ERROR" in line]
        expect(all("cannot be written" in line for line in errors), f"errors: {errors}")
        row.saw(f"{len(before)} records, all arrived; {errors[0].split('ERROR')[1].strip()}".replace(str(disk), ""))


def _fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)


def _raising_close(table: Table, folder: Path, clip: Path) -> None:
    promised = "exit code 5, one error; the other video is finished"
    with table.case("closing a video raises an unexpected error, before another video", promised) as row:
        folder.mkdir(parents=True)
        for name in ("one.mp4", "two.mp4"):
            (folder / name).write_bytes(clip.read_bytes())
        sources = ("--source", folder / "one.mp4", "--source", folder / "two.mp4")
        arguments = (*sources, "--output", folder / "out", "--max-frames", str(_FRAMES))
        with child(table.machine, folder, *arguments, faults=["raising_close=1"]) as run:
            code = run.wait_for_end()
        expect(code == 5, f"exit code {code}: {run.last_words}")
        expect("RaisingVideo: internal error" in run.last_words, f"the last log line: {run.last_words}")
        count = decoded(folder / "out" / "two.mp4")
        expect(count == _FRAMES, f"{count} of {_FRAMES} frames")
        row.saw(f"5, {run.last_words}; {count} of {_FRAMES} frames of the other")
