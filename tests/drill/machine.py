"""Disks, displays, signals and addresses without an answer: one short run each."""

import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import av
import numpy as np
import psutil

from tests.drill.cameras import RtspCamera, one_camera
from tests.drill.child import QUICK_MODEL, child, decoded, expect, lasts_s, namespace
from tests.drill.table import Table
from tests.ports import free_port
from tests.servers import LOGIN, PASSWORD

OPEN_TIMEOUT_S: Final = 3.0
_SILENT_ADDRESS: Final = "192.0.2.7"
_SWALLOWING: Final = f"""
ip link add void type veth peer name end
ip addr add 192.0.2.1/24 dev void
ip link set void up
ip link set end up
ip neigh replace {_SILENT_ADDRESS} lladdr 02:00:00:00:00:07 dev void nud permanent"""
_SMALL_DISK: Final = 'mount -t tmpfs -o size=8m tmpfs "{0}"; head -c {1} /dev/zero > "{0}/others"'
_READ_ONLY: Final = 'mount -t tmpfs -o ro tmpfs "{0}"'
_LEFT_FREE: Final = 200_000
_QUICK: Final = ("--set", f"network.open_timeout_s={OPEN_TIMEOUT_S}", "--set", f"network.read_timeout_s={OPEN_TIMEOUT_S}")


_WRONG: Final = "hunter2"
_SECRETS: Final = (PASSWORD, LOGIN.split(":")[1].rstrip("@"), _WRONG)


def has_secret(text: str) -> bool:
    """Return whether a text contains a password of a camera, plain or as in a URL."""
    return any(secret in text for secret in _SECRETS)


def recordings(table: Table, folder: Path, clip: Path) -> None:
    """Run the cases that end a recording."""
    with one_camera(clip, gop=50, role="user") as camera:
        _full_disk(table, folder / "disk", camera)
        read_only(table, folder / "read_only", camera)
        stopped(table, folder / "sigterm", camera, signal.SIGTERM)
        stopped(table, folder / "sigkill", camera, signal.SIGKILL)


def refusals(table: Table, folder: Path, clip: Path) -> None:
    """Run the cases of a single source that refuses or does not answer."""
    with one_camera(clip, role="user") as camera:
        refused_alone(table, folder, camera)
    _swallowed(table, folder / "swallowed")
    _no_display(table, folder / "no_display", clip)


def refused_alone(table: Table, folder: Path, camera: RtspCamera) -> None:
    """Open a closed port, a camera with another password, and a path that does not exist; each as the only source."""
    cases = {
        "port refused, alone, with --max-reconnects 1": (f"rtsp://127.0.0.1:{free_port()}/cam", "was refused"),
        "401, alone": (camera.url(login=f"watchman:{_WRONG}@"), "(401)"),
        "404, alone": (camera.url("/nowhere"), "(404)"),
    }
    with ExitStack() as running:
        runs = [
            running.enter_context(
                child(table.machine, folder / said.strip("()"), "--source", url, "--max-reconnects", "1", *_QUICK)
            )
            for url, said in cases.values()
        ]
        for run, (case, (_, said)) in zip(runs, cases.items(), strict=True):
            with table.case(case, "exit code 3, and the last log line has the reason") as row:
                code = run.wait_for_end()
                expect(code == 3, f"exit code {code}: {run.last_words}")
                expect(said in run.last_words, f"the last log line: {run.last_words}")
                row.saw(f"3, {run.last_words}")


def _swallowed(table: Table, folder: Path) -> None:
    promised = f"offline after {OPEN_TIMEOUT_S:g} s, retried; ends within 3 s"
    with table.case("an address that drops packets (in its own network namespace)", promised) as row:
        inside = namespace("n", _SWALLOWING)
        with child(table.machine, folder, "--source", f"rtsp://{_SILENT_ADDRESS}/cam", *_QUICK, inside=inside) as run:
            run.wait_for_state("offline")
            change = run.changes()[-1]
            expect("no frame within" in change["cause"], f"the cause: {change['cause']}")
            expect(table.machine.keeps(change["before_s"], OPEN_TIMEOUT_S + 2), f"given up after {change['before_s']:.1f} s")
            took_s = run.leave()
        row.saw(f"offline after {change['before_s']:.1f} s, ended in {took_s:.1f} s")


def _full_disk(table: Table, folder: Path, camera: RtspCamera) -> None:
    with table.case("recording onto a full disk of 8 MB", "one error, analysis continues, the recording decodes") as row:
        disk = folder / "disk"
        disk.mkdir(parents=True)
        inside = namespace("m", _SMALL_DISK.format(disk, 8 * 2**20 - _LEFT_FREE))
        with child(
            table.machine,
            folder,
            "--source",
            camera.url(login=LOGIN),
            "--output",
            disk / "cam.mp4",
            "--set",
            "video.crf=5",
            inside=inside,
        ) as run:
            run.wait_for("an error", lambda: "ERROR" in run.log)
            frames = len(run.records())
            run.wait_for_frames(10)
            recording = Path(f"/proc/{run.process.pid}/root{disk}") / "cam.mp4"
            count = decoded(recording)
            run.leave()
        errors = [line for line in run.log.splitlines() if "cannot be written" in line and "ERROR" in line]
        expect(len(errors) == 1, f"{len(errors)} errors")
        expect("No space left" in errors[0], errors[0])
        expect(count > 0, "the recording has no frames")
        said = errors[0].split("ERROR")[1].strip().replace(str(disk), "")
        row.saw(f"after {frames} frames: {said}; {count} frames decode")


def read_only(table: Table, folder: Path, camera: RtspCamera) -> None:
    """Record to a read-only folder."""
    with table.case("recording into a read-only folder", "exit code 5 at once, one log line") as row:
        target = folder / "target"
        target.mkdir(parents=True)
        inside = namespace("m", _READ_ONLY.format(target))
        with child(
            table.machine, folder, "--source", camera.url(login=LOGIN), "--output", target / "cam.mp4", inside=inside
        ) as run:
            code = run.wait_for_end()
        expect(code == 5, f"exit code {code}: {run.last_words}")
        row.saw(f"5, {run.last_words}".replace(str(folder), ""))


def stopped(table: Table, folder: Path, camera: RtspCamera, number: signal.Signals = signal.SIGTERM) -> None:
    """Send a signal to a run that records a stream from the middle of a group of frames."""
    promised = "the file decodes, and has no grey frames from before the first key frame"
    with table.case(f"{number.name} while recording; joined inside a group of 50 frames", promised) as row:
        with child(table.machine, folder, "--source", camera.url(login=LOGIN), "--output", folder / "cam.mp4") as run:
            run.wait_for_frames(15)
            title = " ".join(psutil.Process(run.process.pid).cmdline())
            expect(not has_secret(title), f"the title of the process is {title}")
            took_s = run.leave(number)
        count, records = decoded(folder / "cam.mp4"), len(run.records())
        expect(count >= records - 10, f"{count} frames of {records}")
        greys = [index for index, share in enumerate(_grey_fractions(folder / "cam.mp4")) if share > 0.5]
        expect(not greys, f"grey: {greys}")
        row.saw(f"ended in {took_s:.1f} s, {count} frames decode, {records} records, none grey")


def _grey_fractions(path: Path) -> list[float]:
    """Return the fraction of each frame with the grey of a decoder without a key frame."""
    with av.open(str(path)) as container:
        images = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    return [float(np.all(np.abs(image.astype(int) - 128) < 6, axis=2).mean()) for image in images]


def webcams(table: Table, folder: Path, clip: Path) -> None:
    folder.mkdir(parents=True)
    device = folder / "device.mp4"
    device.write_bytes(clip.read_bytes())
    unplugged = folder / "device.mp4.unplugged"
    sources = [part for index in range(4) for part in ("--source", str(index))]
    with child(
        table.machine, folder, *sources, "--output", folder / "recordings", *QUICK_MODEL, faults=[f"webcams={device}"]
    ) as run:
        with table.case(
            "a webcam that is unplugged and plugged in again (a device behind the same interface)",
            "reconnecting with its cause, online again",
        ) as row:
            run.wait_for_frames(5, "3")
            unplugged.touch()
            lost_s = run.wait_for_state("reconnecting", "3", 10)
            cause = run.changes("3")[-1]["cause"]
            run.wait_for_state("offline", "3", 20)
            unplugged.unlink()
            back_s = run.wait_for_state("online", "3", 20, after=4)
            run.wait_for_frames(5, "3")
            row.saw(f"reconnecting after {lost_s:.1f} s ({cause}), online {back_s:.1f} s after it was plugged in")
        with table.case(
            "frame rates of 0, NaN and 1000 in the metadata of three cameras", "the recording has the times of the camera"
        ) as row:
            run.leave()
            for index, lie in enumerate(("0", "NaN", "1000")):
                times = [record["time_s"] for record in run.records(str(index))]
                real_s, recorded_s = times[-1] - times[0], lasts_s(folder / "recordings" / f"{index}.mp4")
                expect(table.machine.keeps(abs(real_s - recorded_s), 1), f"{lie}: {recorded_s:.1f} s of {real_s:.1f} s")
                row.saw(f"{lie}: {recorded_s:.1f} s recorded of {real_s:.1f} s")


def _no_display(table: Table, folder: Path, clip: Path) -> None:
    with table.case("--show without a display", "one warning, then the normal run") as row:
        with child(table.machine, folder, "--source", clip, "--show", "--max-frames", "5", DISPLAY="", WAYLAND_DISPLAY="") as run:
            code = run.wait_for_end()
        warnings = [line for line in run.log.splitlines() if "WARNING" in line]
        expect(code == 0, f"exit code {code}")
        expect(len(run.records()) == 5, f"{len(run.records())} frames")
        expect(len(warnings) == 1, f"warnings: {warnings}")
        row.saw(warnings[0].split("WARNING")[1].strip())


def secrets(table: Table, folder: Path) -> None:
    """Search all files of all runs."""
    with table.case("the passwords of the cameras", "not found in logs, records, names and contents of files") as row:
        files = [path for path in folder.rglob("*") if path.is_file() and path.name != "cameras.yaml"]
        exposed = [path for path in files if has_secret(str(path)) or has_secret(path.read_bytes().decode("latin-1"))]
        expect(not exposed, f"in {', '.join(map(str, exposed))}")
        expect(any("***@" in path.read_text() for path in files if path.name == "log.txt"), "no log of a camera with a password")
        row.saw(f"{len(files)} files searched; the titles of the processes, too")
