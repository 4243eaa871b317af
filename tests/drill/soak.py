"""Watch four cameras for N minutes, and compare memory, threads and file descriptors at the beginning and at the end."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Final

from tests.drill.cameras import RtspCamera, rtsp_cameras
from tests.drill.child import QUICK_MODEL, Child, Usage, child, decoded, expect
from tests.drill.table import Table

_CAMERAS: Final = ("north", "east", "south", "west")
_GROWTH: Final = 0.05
_ONE_STEP: Final = 0.1
"""A cache that fills once, as for a size of batch that occurs rarely, is one step; a leak grows in all quarters."""
_AWAY_EVERY_S: Final = 120.0
_AWAY_S: Final = 5.0
_SAMPLE_S: Final = 5.0
_WARM_UP_FRAMES: Final = 150
"""Of each camera, before the first sample."""


def soak(table: Table, folder: Path, clip: Path, minutes: float) -> None:
    """Watch four cameras; one is down for 5 s at intervals. Compare the quarters of the time."""
    promised = (
        "RSS grows by less than 5 % from the first quarter to the last, and once by less than 10 % more; "
        "threads and fds do not grow; all recordings decode"
    )
    away_every_s = min(_AWAY_EVERY_S, 20 * minutes)
    with (
        ExitStack() as running,
        table.case(f"4 cameras for {minutes:g} minutes, one disconnected every {away_every_s:g} s", promised) as row,
    ):
        cameras = running.enter_context(rtsp_cameras(clip, dict.fromkeys(_CAMERAS, "anyone"), fps=5))
        folder.mkdir(parents=True)
        listed = folder / "cameras.yaml"
        listed.write_text("".join(f"- {{name: {name}, url: '{camera.url()}'}}\n" for name, camera in cameras.items()))
        run = running.enter_context(
            child(table.machine, folder, "--source", listed, "--output", folder / "recordings", "--segment", "10m", *QUICK_MODEL)
        )
        for name in _CAMERAS:
            run.wait_for_state("online", name)
        _lose(run, cameras, "north", "east", "south")  # single frames need another network
        for name in _CAMERAS:  # caches fill once
            run.wait_for_frames(_WARM_UP_FRAMES, name)
        samples: list[Usage] = []
        began_s = time.monotonic()
        lost_at_s = began_s
        while (now_s := time.monotonic()) < began_s + 60 * minutes:
            if now_s - lost_at_s > away_every_s:
                lost_at_s = now_s
                _lose(run, cameras, "north")
            samples.append(run.usage())
            time.sleep(_SAMPLE_S)
        took_s = run.leave()
        quarters = [_median(samples[part * len(samples) // 4 : (part + 1) * len(samples) // 4]) for part in range(4)]
        first, last = quarters[0], quarters[-1]
        recordings = list((folder / "recordings").iterdir())
        steps_mb = sorted(after.rss_mb - before.rss_mb for before, after in pairwise(quarters))
        expect(sum(steps_mb[:-1]) < _GROWTH * first.rss_mb, f"{first} became {last}; steps of {steps_mb} MB")
        expect(steps_mb[-1] < _ONE_STEP * first.rss_mb, f"{first} became {last}; steps of {steps_mb} MB")
        expect(last.threads <= first.threads, f"{first} became {last}")
        expect(last.fds <= first.fds, f"{first} became {last}")
        lost, analysed = run.states("north").count("reconnecting"), len(run.records())
        row.saw(f"{first}, then {last}; {analysed} frames analysed, {lost} reconnections, ended in {took_s:.1f} s")
        row.saw(f"{sum(map(decoded, recordings))} frames in {len(recordings)} recordings")


def _lose(run: Child, cameras: Mapping[str, RtspCamera], *names: str) -> None:
    """Stop cameras for 5 s."""
    known = {name: len(run.changes(name)) for name in names}
    for name in names:
        cameras[name].off()
    time.sleep(_AWAY_S)
    for name in names:
        cameras[name].on()
    for name in names:
        run.wait_for_state("online", name, after=known[name])


def _median(samples: list[Usage]) -> Usage:
    return Usage(
        median(each.rss_mb for each in samples),
        round(median(each.threads for each in samples)),
        round(median(each.fds for each in samples)),
    )
