"""A running `maskstream fleet --ray`, whose agents are actors on raylets of this machine."""

import os
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Any

import av

from maskstream.types import BgrImage
from tests.cli.fleets import Fleet
from tests.command_lines import Forked
from tests.conftest import DEMO
from tests.fleet.raylets import Raylets
from tests.receivers import wait_until
from tests.rtsp_camera import RtspCamera, running
from tests.slowness import measured_slowness, slowness

PROGRAM = (sys.executable, "-c", "import sys; from maskstream.cli.main import main; sys.exit(main())", "fleet")
"""Run in an empty folder: the agents have to find the package as an installed one."""
SETTINGS = "{events: {min_seconds: 0.3, update_s: 2}, detector: {every: 5, short_side: 128}, threads: 1}"
FPS = 5
LOOP_S = 6.0
"""The length of what a camera shows again and again."""
_TIME = re.compile(r"\S*(\d\d:\d\d:\d\d)")


def demo_pictures() -> list[BgrImage]:
    """Return every fifth frame of the demo clip, half as large."""
    with av.open(str(DEMO)) as container:
        frames = [frame for at, frame in enumerate(container.decode(video=0)) if at % 5 == 0]
    return [frame.to_ndarray(width=320, height=180, format="bgr24") for frame in frames]


@contextmanager
def rtsp_cameras(names: str) -> Iterator[dict[str, str]]:
    """Run cameras with names of one letter; each begins at another picture. Yields their URLs."""
    pictures = demo_pictures()
    with ExitStack() as closing_all:
        urls = {}
        for at, name in enumerate(names):
            turned = pictures[3 * at :] + pictures[: 3 * at]
            camera = RtspCamera(fps=FPS, gop=FPS, pictures=turned)
            urls[name] = closing_all.enter_context(running(camera))
        yield urls


@dataclass
class RayFleet(Fleet):
    """A site on raylets, and the processes of its supervisor and its agents."""

    name: str = "test"
    nodes_folder: Path = Path()
    """`XDG_STATE_HOME` of the nodes."""
    slowness: Callable[[], float] = slowness
    """Of the machine, at worst, while the cameras were watched."""

    def write(self, cameras: dict[str, str], where: dict[str, list[str]] | None = None, **keys: Any) -> None:
        """Write the site.

        Args:
            cameras: The URLs of the cameras by name.
            where: The nodes that single cameras may be placed on.
            keys: Of the site.
        """
        import json

        entries = [
            {"name": name, "url": url} | ({"nodes": where[name]} if where and name in where else {})
            for name, url in cameras.items()
        ]
        values = {"site": self.name, "folder": "state", "analysed_fps": FPS, "max_moves_per_minute": 60, **keys}
        lines = [f"{key}: {json.dumps(value)}" for key, value in values.items()]
        self.site.write_text("\n".join([*lines, f"settings: {SETTINGS}", f"cameras: {json.dumps(entries)}", ""]))

    def start(self) -> None:
        """Start a supervisor; the log of each goes on in one file."""
        outputs = ("--events", self.events, "--status", self.folder / "status.jsonl")
        command = [*PROGRAM, *map(str, ("--site", self.site, *outputs, *self.options))]
        with self.log_file.open("ab") as log:
            self.processes.append(Forked(command, cwd=self.folder, stdout=log, stderr=log))

    def agents(self) -> dict[str, int]:
        """Return the process of each agent that runs, by its node: it has the records of the node open."""
        found = {}
        for process in Path("/proc").iterdir():
            if process.name.isdecimal():
                with suppress(OSError):
                    for path in {os.readlink(each) for each in (process / "fd").iterdir()}:  # noqa: PTH115 (a link to nothing, too)
                        if path.startswith(str(self._nodes)) and path.endswith("records.db"):
                            found[Path(path).parent.name] = int(process.name)
        return found

    def waiting(self) -> int:
        """Return how many records wait on the nodes, after their agents have ended."""
        total = 0
        for path in self._nodes.glob("*/records.db"):
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
                total += connection.execute("SELECT count(*) FROM records").fetchone()[0]
        return total

    def wait_for_records(self, times: int) -> None:
        """Wait until each agent has written its records so many times. The agents have the files locked."""
        written: dict[Path, set[int]] = {self._nodes / node / "records.db-wal": set() for node in self.agents()}

        def have_written() -> bool:
            for path, changes in written.items():
                changes.add(path.stat().st_mtime_ns)
            return min(map(len, written.values())) > times

        wait_until(have_written)

    def placed(self) -> dict[str, list[str]]:
        """Return the cameras of each node, by the latest line of the log about them."""
        placed: dict[str, list[str]] = {}
        for camera, node in sorted(self.nodes_of().items()):
            placed.setdefault(node, []).append(camera)
        return placed

    def hole_s(self, camera: str, until_utc: float = inf) -> float:
        """Return the longest time in which no event of a camera was open, from the first one to the last one, or to a time."""
        spans = sorted(
            (utc_s(records[0]["began_utc"]), max(utc_s(each["last_utc"]) for each in records))
            for records in self.by_event().values()
            if records[0]["source"] == camera
        )
        assert spans, f"{camera}: no events"
        longest, until_s = 0.0, spans[0][1]
        for began_s, last_s in spans:
            longest, until_s = max(longest, min(began_s, until_utc) - until_s), max(until_s, last_s)
        return longest

    @property
    def _nodes(self) -> Path:
        return self.nodes_folder / "maskstream" / "sites" / self.name / "nodes"


def utc_s(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@contextmanager
def fleet_on_ray(
    folder: Path, raylets: Raylets, cameras: dict[str, str], where: dict[str, list[str]] | None = None, **keys: Any
) -> Iterator[RayFleet]:
    """Run a fleet whose cameras are all online and have events; at the end nothing of it runs any more.

    The name of the site is that of the folder, so that each test has nodes of its own. Without `where` each node begins with as
    many cameras, whichever agent answers first, and after that they may be placed on any node.
    """
    name = re.sub(r"\W", "_", folder.name)
    state = Path(os.environ["XDG_STATE_HOME"])
    fleet = RayFleet(folder, options=("--ray", raylets.address), name=name, nodes_folder=state)
    names = raylets.names
    fleet.write(cameras, where or {camera: [names[number % len(names)]] for number, camera in enumerate(cameras)}, **keys)
    try:
        fleet.start()
        fleet.wait_for(*(f" {name}: online" for name in cameras))
        if where is None:
            fleet.write(cameras, **keys)
            fleet.wait_for(": generation 2, ")
        with measured_slowness() as fleet.slowness:
            wait_until(lambda: {records[0]["source"] for records in fleet.by_event().values()} == set(cameras))
            yield fleet
    finally:
        fleet.close()
