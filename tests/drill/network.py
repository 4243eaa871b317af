"""One run with twelve cameras; most of them fail, each in another way."""

import re
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from tests.drill.cameras import DamagingProxy, RtspCamera, feeder, rtsp_cameras
from tests.drill.child import QUICK_MODEL, Child, child, decoded, expect
from tests.drill.table import Table
from tests.ports import free_port, free_udp_ports
from tests.servers import LOGIN, silent_server

READ_TIMEOUT_S = 4.0
LONGEST_PAUSE_S = 3.0
_MOST_TURNS = 3
BACK_WITHIN_S = 10.0
"""For the reconnection of a camera, after the rest of a wait."""
_LONGEST_WAIT_S = 36.0
_NAMES = ("steady", "killed", "frozen", "refused", "locked", "wrong", "missing", "silent", "damaged", "torn", "later", "changed")


@dataclass
class Scene:
    """The cameras, and the program that watches them."""

    cameras: dict[str, RtspCamera]
    run: Child
    other_port: int
    """Receives video of another size and rate."""


@contextmanager
def scene(table: Table, folder: Path, clip: Path) -> Iterator[Scene]:
    names = ("steady", "killed", "frozen", "later", "changed", "locked", "damaged", "torn")
    (other_port,) = free_udp_ports(1)
    with ExitStack() as running:
        roles = {name: "user" if name == "locked" else "anyone" for name in names}
        cameras = running.enter_context(rtsp_cameras(clip, roles))
        running.enter_context(feeder(clip, [other_port], "640:360", 5))
        cameras["later"].off()
        damaged = running.enter_context(DamagingProxy(cameras["damaged"].port, 0.01, payload_only=False))
        torn = running.enter_context(DamagingProxy(cameras["torn"].port, 0.0001, payload_only=True))
        silent = running.enter_context(silent_server())
        urls = {name: camera.url() for name, camera in cameras.items()} | {
            "refused": f"rtsp://127.0.0.1:{free_port()}/cam",
            "locked": cameras["locked"].url(login=LOGIN),
            "wrong": cameras["locked"].url(login="watchman:hunter2@"),
            "missing": cameras["steady"].url("/nowhere"),
            "silent": f"rtsp://{silent}/cam",
            "damaged": f"rtsp://127.0.0.1:{damaged.port}/cam",
            "torn": f"rtsp://127.0.0.1:{torn.port}/cam",
        }
        listed = folder / "cameras.yaml"
        folder.mkdir(parents=True, exist_ok=True)
        network = f"network: {{open_timeout_s: {READ_TIMEOUT_S}, read_timeout_s: {READ_TIMEOUT_S}}}"
        listed.write_text("".join(f"- {{name: {name}, url: '{urls[name]}', {network}}}\n" for name in _NAMES))
        run = running.enter_context(
            child(table.machine, folder, "--source", listed, "--output", folder / "recordings", *QUICK_MODEL)
        )
        yield Scene(cameras, run, other_port)


def network(table: Table, folder: Path, clip: Path, away_s: Sequence[float]) -> None:
    """Run all cases of failing cameras in one run. One camera is down for each of the times in `away_s`."""
    with scene(table, folder, clip) as seen:
        run, cameras = seen.run, seen.cameras
        run.wait_for_state("online", "steady")
        _at_the_start(table, run)
        for each_s in away_s:
            killed(table, run, cameras["killed"], each_s)
        _frozen(table, run, cameras["frozen"])
        _dead_at_first(table, run, cameras["later"])
        _changed(table, run, cameras["changed"], seen.other_port)
        _damaged(table, run)
        _others_unharmed(table, run)
        _edited(table, run, folder / "cameras.yaml")
        left(table, run, folder, "cameras that are down, silent and damaged")


def _at_the_start(table: Table, run: Child) -> None:
    expected = {
        "refused": "the connection was refused",
        "wrong": "(401)",
        "missing": "(404)",
        "silent": "no frame within",
    }
    for name, said in expected.items():
        with table.case(f"{name} at the start, among others", f"offline, retried; the cause: {said}") as row:
            run.wait_for_state("offline", name)
            change = run.changes(name)[-1]
            expect(said in change["cause"], f"the cause is {change['cause']!r}")
            row.saw(f"offline after {change['before_s']:.1f} s: {change['cause'].split(': ')[-1]}")
    with table.case("a correct password", "online") as row:
        run.wait_for_state("online", "locked")
        row.saw("online")


def killed(table: Table, run: Child, camera: RtspCamera, away_s: float) -> None:
    """Kill the server of the camera `killed`, and start it again after `away_s`."""
    back_within_s = min(_LONGEST_WAIT_S, away_s) + BACK_WITHIN_S
    promised = f"reconnecting, online within {back_within_s:g} s after its start, no frame in between"
    with table.case(f"server killed, and started again after {away_s:g} s", promised) as row:
        run.wait_for_frames(3, "killed")
        known = len(run.changes("killed"))
        camera.off()
        lost_s = run.wait_for_state("reconnecting", "killed", 5, after=known)
        time.sleep(away_s / 2)  # frames in transit arrive
        frames = len(run.records("killed"))
        time.sleep(away_s / 2)
        expect(len(run.records("killed")) <= frames + 1, "frames without a camera")
        camera.on()
        back_s = run.wait_for_state("online", "killed", back_within_s, after=known)
        run.wait_for_frames(3, "killed")
        row.saw(f"reconnecting after {lost_s:.1f} s, online {back_s:.1f} s after its start")


def _frozen(table: Table, run: Child, camera: RtspCamera) -> None:
    promised = f"stalled after 2 s, disconnected after {READ_TIMEOUT_S:g} s, online within {BACK_WITHIN_S:g} s after SIGCONT"
    with table.case("server stopped (SIGSTOP) and continued (SIGCONT)", promised) as row:
        run.wait_for_frames(3, "frozen")
        known = len(run.changes("frozen"))
        camera.send(signal.SIGSTOP)
        stalled_s = run.wait_for_state("stalled", "frozen", 5, after=known)
        lost_s = run.wait_for_state("reconnecting", "frozen", READ_TIMEOUT_S + 3, after=known)
        time.sleep(2)
        camera.send(signal.SIGCONT)
        back_s = run.wait_for_state("online", "frozen", BACK_WITHIN_S, after=known)
        run.wait_for_frames(3, "frozen")
        row.saw(f"stalled after {stalled_s:.1f} s, disconnected {lost_s:.1f} s later, online {back_s:.1f} s after SIGCONT")


def _dead_at_first(table: Table, run: Child, camera: RtspCamera) -> None:
    with table.case(
        "one of several cameras is down at the start, and starts later", "the others run; online after its start"
    ) as row:
        expect("online" not in run.states("later"), "it was online before its start")
        camera.on()
        back_s = run.wait_for_state("online", "later", 40)
        run.wait_for_frames(3, "later")
        row.saw(f"online {back_s:.1f} s after its start")


def _changed(table: Table, run: Child, camera: RtspCamera, other_port: int) -> None:
    promised = "analysis continues; another segment of the recording, logged once"
    with table.case("another resolution and rate on reconnect", promised) as row:
        run.wait_for_frames(3, "changed")
        known = len(run.changes("changed"))
        camera.off()
        camera.feed_port = other_port
        time.sleep(1)
        camera.on()
        run.wait_for_state("online", "changed", after=known)  # 5 fps: an attempt of 4 s may be too short
        run.wait_for_frames(3, "changed")
        said = [line for line in run.log.splitlines() if "changed: the recording continues in changed_002.mp4" in line]
        expect(len(said) == 1, f"logged {len(said)} times")
        row.saw(said[0].split("INFO")[-1].strip())


def _damaged(table: Table, run: Child) -> None:
    with table.case("1 % of the bytes of a camera are damaged in transit", "the program continues, and retries") as row:
        causes = [change["cause"].split(": ", 1)[-1] for change in run.changes("damaged")[1:]]
        expect(causes, "no cause was recorded")
        row.saw(f"{len(run.records('damaged'))} frames analysed; {'; '.join(dict.fromkeys(causes))}")
    with table.case(
        "0.01 % of the bytes of the video are damaged, not of the headers",
        "damaged frames are dropped and counted, the others are analysed",
    ) as row:
        run.wait_for("a count", lambda: re.search(r"torn: .* [1-9]\d* decode", run.log), 15)
        run.wait_for_frames(3, "torn")
        row.saw(f"{len(run.records('torn'))} frames analysed, {_dropped(run, 'torn')}")


def _dropped(run: Child, name: str) -> str:
    """Return the dropped frames in the last health line."""
    return re.findall(rf"{name}: .*(dropped: .*), last frame", run.log)[-1]


def _others_unharmed(table: Table, run: Child) -> None:
    promised = (
        f"the cameras take turns, and no pause without frames is longer than {LONGEST_PAUSE_S:g} s, "
        f"although reads fail after {READ_TIMEOUT_S:g} s"
    )
    with table.case("a working camera beside eleven that fail", promised) as row:
        records = run.records()
        times = sorted(datetime.fromisoformat(record["time_utc"]) for record in records)
        pause_s = max((after - before).total_seconds() for before, after in pairwise(times))
        expect(table.machine.keeps(pause_s, LONGEST_PAUSE_S), f"no frame of any camera for {pause_s:.1f} s")
        own = [number for number, record in enumerate(records) if record["source"] == "steady"]
        others = [Counter(record["source"] for record in records[before:after]) for before, after in pairwise(own)]
        most = max(count for turns in others for count in turns.values())
        expect(most <= _MOST_TURNS, f"another camera had {most} turns before its next")
        row.saw(f"{len(own)} of its frames, at most {most} of another in between; longest pause of all {pause_s:.2f} s")


def _edited(table: Table, run: Child, listed: Path) -> None:
    with table.case(
        "the list of cameras is edited while it runs", "one removed, another added, the others stay connected"
    ) as row:
        lines = listed.read_text().splitlines(keepends=True)
        added = next(line for line in lines if "name: steady" in line).replace("name: steady", "name: added")
        listed.write_text("".join(line for line in lines if "name: refused" not in line) + added)
        run.wait_for_state("ended", "refused", 5)
        run.wait_for_state("online", "added", BACK_WITHIN_S)
        expect(run.states("steady").count("connecting") == 1, "the steady one was opened again")
        row.saw("removed and added")
        listed.write_text("- {name: broken")
        run.wait_for("an error about the list", lambda: "the cameras are not changed" in run.log, 5)
        row.saw("a list that cannot be read is logged and changes nothing")


def left(table: Table, run: Child, folder: Path, beside: str) -> None:
    """End the program by Ctrl+C, and decode the recordings."""
    with table.case(f"SIGINT beside {beside}", "ends within 3 s, every recording decodes") as row:
        took_s = run.leave(signal.SIGINT)
        counts = {path.name: decoded(path) for path in sorted((folder / "recordings").iterdir())}
        expect(run.process.returncode == 130, f"exit code {run.process.returncode}")
        expect(min(counts.values()) > 0, f"frames: {counts}")
        expect("ended" in run.states("steady"), "its end was not recorded")
        row.saw(f"ended in {took_s:.1f} s; {len(counts)} recordings with {sum(counts.values())} frames")
