#!/usr/bin/env python3
"""Measure what viewers of the dashboard cost a run: the rate of the analysis with and without viewers, and its memory.

A run plays one clip as several cameras, in a process of its own. In turn there are no viewers, and several, of which some
are throttled. Run and viewers have different processors where the machine has two or more, as they would on different machines.

python tools/web_load.py                                                      16 cameras, 8 viewers, 10 minutes
python tools/web_load.py --rounds 2 --round-s 10 --cameras 4 --json out/load.json
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any, Final
from urllib.error import URLError
from urllib.request import Request, urlopen

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.store.roles import Role
from maskstream.store.store import Store

_READY_WITHIN_S: Final = 180.0
_WARM_UP_S: Final = 15.0
_THROTTLED_S: Final = 1.0
"""The time that a throttled viewer waits before it reads the next message."""


@dataclass(frozen=True)
class Load:
    """How many cameras and viewers there are, and for how long."""

    cameras: int
    viewers: int
    throttled: int
    width: int
    rate: float
    round_s: float
    rounds: int
    clip: str


@dataclass(frozen=True)
class Sample:
    """Counters of the run at one moment."""

    at_s: float
    analysed: float
    analysis_s: float
    """Seconds of the models' stages, added up over the frames."""
    cpu_s: float
    tiles_cpu_s: float
    memory_mb: float


@dataclass(frozen=True)
class Round:
    """One period without viewers, or with them."""

    viewers: int
    fps: float
    """Analysed frames per second of all cameras. Frames arrive in batches, so that short rounds differ by chance."""
    frame_ms: float
    """Time of the models' stages per frame, while the run uses its processors completely."""
    cpu: float
    """Processors that the run uses."""
    tiles_share: float
    """Fraction of this time for painting, encoding and sending."""
    memory_mb: float
    """At the end."""
    tiles_per_s: tuple[float, ...] = ()
    """Of each viewer; the throttled ones are last."""


@dataclass
class Report:
    """The result of all rounds."""

    load: Load
    rounds: list[Round] = field(default_factory=list)

    @property
    def slowdown(self) -> float:
        """Fraction by which a frame takes longer with viewers: the median over pairs of neighbouring rounds."""
        pairs = zip(self.rounds[::2], self.rounds[1::2], strict=True)
        return median(seen.frame_ms / unseen.frame_ms - 1 for unseen, seen in pairs)

    @property
    def growth_mb(self) -> float:
        """Memory of the last quarter of the rounds beyond that of the second quarter; the caches fill in the first."""
        memory = [each.memory_mb for each in self.rounds]
        quarter = max(1, len(memory) // 4)
        return median(memory[-quarter:]) - median(memory[quarter : 2 * quarter] or memory[:1])

    def record(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {**asdict(self), "slowdown": self.slowdown, "growth_mb": self.growth_mb}


class Run:
    """The run that is measured."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str, token: str) -> None:
        """Use a process that was started."""
        self.process, self.url, self.token = process, url, token

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a request."""
        return {"Authorization": f"Bearer {self.token}"}

    def wait(self) -> None:
        """Wait until all cameras are analysed."""
        until_s = monotonic() + _READY_WITHIN_S
        while monotonic() < until_s and self.process.poll() is None:
            with suppress(URLError, OSError), urlopen(f"{self.url}/readyz") as answer:  # noqa: S310 (http)
                if answer.status == 200 and self.sample().analysed > 0:
                    return
            sleep(0.5)
        raise SystemExit(f"the run was not ready within {_READY_WITHIN_S:g} s")

    def sample(self) -> Sample:
        """Read the counters."""
        with urlopen(Request(f"{self.url}/metrics", headers=self.headers)) as answer:  # noqa: S310 (http)
            text = answer.read().decode()
        sums: Counter[str] = Counter()
        for line in text.splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                if 'stage="capture"' not in name:  # the capture threads wait for the clock of the clip
                    sums[name.partition("{")[0]] += float(value)  # type: ignore[assignment]
        return Sample(
            at_s=monotonic(),
            analysed=sums["maskstream_frames_analysed_total"],
            analysis_s=sums["maskstream_stage_duration_seconds_sum"],
            cpu_s=sums["process_cpu_seconds_total"],
            tiles_cpu_s=sums["maskstream_web_cpu_seconds_total"],
            memory_mb=sums["process_resident_memory_bytes"] / 1e6,
        )


@contextmanager
def running(load: Load, folder: Path, processors: Sequence[int], settings: Sequence[str]) -> Iterator[Run]:
    """Start the run with its dashboard, and stop it at the end."""
    clip = longer(load, folder)
    cameras = [f"- {{name: camera {number + 1}, url: {json.dumps(str(clip))}}}\n" for number in range(load.cameras)]
    (folder / "cameras.yaml").write_text("".join(cameras))
    with Store(folder / "store") as store:
        token = store.tokens.add("load", Role.VIEWER, None, None)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "maskstream", "run", "--source", str(folder / "cameras.yaml"), "--realtime", "--no-show"]
    command += ["--web", f"127.0.0.1:{port}", "--set", f"store.folder={folder / 'store'}"]
    command += [part for setting in settings for part in ("--set", setting)]
    with (folder / "run.log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, preexec_fn=lambda: pin(processors))  # noqa: S603
        try:
            yield Run(process, f"http://127.0.0.1:{port}", token)
        finally:
            process.terminate()
            process.wait(30)


def longer(load: Load, folder: Path) -> Path:
    """Return the clip, repeated without encoding it again until it outlasts all rounds."""
    lasts_s = load.rounds * 2 * 2 * load.round_s + _READY_WITHIN_S + _WARM_UP_S  # viewers need time to connect and leave
    target = folder / f"long{Path(load.clip).suffix}"
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-stream_loop",
        "-1",
        "-i",
        load.clip,
        "-t",
        str(lasts_s),
        "-an",
        "-c",
        "copy",
        str(target),
    ]
    subprocess.run(command, check=True)  # noqa: S603
    return target


def pin(processors: Sequence[int]) -> None:
    """Use these processors only, where the system can do that."""
    if processors and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, processors)


async def view(run: Run, load: Load, delay_s: float) -> int:
    """Watch all cameras until cancelled or for a round, and return the number of tiles."""
    from websockets.asyncio.client import connect

    tiles = 0
    url = f"{run.url.replace('http', 'ws', 1)}/api/v1/live"
    async with connect(url, additional_headers=run.headers, compression=None, proxy=None, max_queue=4) as connection:
        cameras = [{"camera": f"camera {number + 1}", "width": load.width} for number in range(load.cameras)]
        await connection.send(json.dumps({"type": "watch", "cameras": cameras, "rate": load.rate}))
        with suppress(TimeoutError):
            async with asyncio.timeout(load.round_s):
                while True:
                    message = await connection.recv()
                    if isinstance(message, str):
                        continue
                    header = json.loads(message[4 : 4 + int.from_bytes(message[:4], "big")])
                    tiles += 1
                    await asyncio.sleep(delay_s)
                    await connection.send(json.dumps({"type": "ack", "camera": header["camera"], "frame": header["frame"]}))
    return tiles


def measured(run: Run, load: Load, viewers: int) -> Round:
    """Return one round."""

    async def watch() -> list[int]:
        delays_s = [0.0] * (viewers - load.throttled) + [_THROTTLED_S] * load.throttled
        return await asyncio.gather(*(view(run, load, delay_s) for delay_s in delays_s))

    before = run.sample()
    tiles: list[int] = []
    if viewers:
        tiles = asyncio.run(watch())
    else:
        sleep(load.round_s)
    after = run.sample()
    took_s, cpu_s = after.at_s - before.at_s, after.cpu_s - before.cpu_s
    frames = max(1.0, after.analysed - before.analysed)
    return Round(
        viewers=viewers,
        fps=frames / took_s,
        frame_ms=(after.analysis_s - before.analysis_s) / frames * 1000,
        cpu=cpu_s / took_s,
        tiles_share=(after.tiles_cpu_s - before.tiles_cpu_s) / cpu_s,
        memory_mb=after.memory_mb,
        tiles_per_s=tuple(number / took_s for number in tiles),
    )


def measure(load: Load, settings: Sequence[str] = ()) -> Report:
    """Start a run, and measure it without and with viewers in turn."""
    processors = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    own = processors[-1:] if len(processors) > 1 else []
    others = processors[:-1] if len(processors) > 1 else []
    report = Report(load)
    with TemporaryDirectory() as folder, running(load, Path(folder), others, settings) as run:
        pin(own)
        try:
            run.wait()
            sleep(_WARM_UP_S)
            for _ in range(load.rounds):
                for viewers in (0, load.viewers):
                    report.rounds.append(measured(run, load, viewers))
                    print(described(report.rounds[-1]), flush=True)
        finally:
            pin(processors)
    return report


def described(each: Round) -> str:
    """Return a round as a line."""
    line = f"{each.viewers} viewers: {each.fps:.2f} frames/s analysed, {each.frame_ms:.1f} ms each, "
    line += f"{each.cpu:.2f} processors, {each.memory_mb:.0f} MB"
    if not each.viewers:
        return line
    rates = " ".join(f"{rate:.1f}" for rate in each.tiles_per_s)
    return f"{line}, {each.tiles_share:.1%} for tiles, tiles/s of each viewer: {rates}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, default=16)
    parser.add_argument("--viewers", type=int, default=8)
    parser.add_argument("--throttled", type=int, default=1, help="viewers of these that read one message a second")
    parser.add_argument("--width", type=int, default=320, help="of the tiles: 320, 640, 960 or 0")
    parser.add_argument("--rate", type=float, default=8.0, help="tiles a second that each viewer asks for, of each camera")
    parser.add_argument("--round-s", type=float, default=10.0, help="seconds of each round")
    parser.add_argument("--rounds", type=int, default=30, help="rounds without viewers, and as many with them")
    parser.add_argument("--clip", default="assets/demo.mp4", help="the clip of all cameras")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the run")
    parser.add_argument("--json", metavar="PATH", help="write the report to this file")
    given = parser.parse_args()
    settings = given.set
    load = Load(
        cameras=given.cameras,
        viewers=given.viewers,
        throttled=given.throttled,
        width=given.width,
        rate=given.rate,
        round_s=given.round_s,
        rounds=given.rounds,
        clip=given.clip,
    )
    report = measure(load, settings)
    print(f"a frame takes {report.slowdown:+.1%} time with viewers (median of {load.rounds} pairs of rounds)")
    print(f"memory: {report.growth_mb:+.1f} MB from the second quarter of the rounds to the last")
    if given.json:
        Path(given.json).write_text(json.dumps(report.record(), indent=2) + "\n")


if __name__ == "__main__":
    main()
