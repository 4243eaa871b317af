"""Time the program by one setting at a time, with all other settings equal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, Final

import numpy as np
from scipy.optimize import linear_sum_assignment

from maskstream.benchmark.bench import Bench
from maskstream.benchmark.crowds import crowd, most_certain_face
from maskstream.benchmark.paced_cameras import Pictures, Site, cores_needed, run_cameras
from maskstream.benchmark.rounds import Workload, take_turns
from maskstream.config.loading import Layer, refine
from maskstream.config.schema import Config
from maskstream.errors import ConfigError
from maskstream.inference.pipeline import build_analyzer
from maskstream.models.devices import CPU, pick_device
from maskstream.types import FloatArray, Frame, FrameResult
from maskstream.vision.geometry import box_iou

_CROWDS: Final = 3
"""Number of images in a turn of the sweep of faces."""
_SAME_IOU: Final = 0.5
_CAMERAS_S: Final = 8.0
"""How long the cameras of the sweeps `quiet` and `live` run in a turn."""


@dataclass(frozen=True)
class Step:
    """One value of the varied setting."""

    value: int | str
    workload: Workload
    extra: dict[str, Any]
    """More columns of the table."""


def run_sweep(name: str, bench: Bench, rounds: int, progress: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return milliseconds per frame, median and spread, for each value of a setting.

    Args:
        name: Name from `SWEEPS`.
        bench: The clip and the models.
        rounds: Number of timed turns of each value.
        progress: Called with a line of progress.

    Raises:
        ConfigError: The clip has no face, for the sweep of faces.
    """
    steps = SWEEPS[name](bench)
    times = take_turns([step.workload for step in steps], rounds, progress)
    rows = []
    for step in steps:
        of = times[step.workload.name].record()
        rows.append({name: step.value, "ms_per_frame": of["ms_per_frame"], "fps": of["fps"], "fps_spread": of["fps_spread"]})
        rows[-1] |= step.extra
    return rows


def _on_gpu(bench: Bench) -> bool:
    return pick_device(bench.config.device) != CPU


def _batch(bench: Bench) -> list[Step]:
    sizes = (1, 2, 4, 8, 16, 32) if _on_gpu(bench) else (1, 2, 4, 8)
    possible = [size for size in sizes if size <= len(bench.frames)]
    return [_step("batch", size, partial(_count, bench.analyzer.analyze, bench.frames, size)) for size in possible]


def _short_side(bench: Bench) -> list[Step]:
    steps = []
    for side in (256, 320, 384, 480, 640):
        layer = Layer.of_key("--sweep short_side", "detector.short_side", side)
        analyzer = build_analyzer(refine(bench.config, layer))
        steps.append(_step("short_side", side, partial(_count, analyzer.analyze, bench.frames)))
    return steps


def _precision(bench: Bench) -> list[Step]:
    steps = []
    for precision in ("float32", "int8"):
        analyzer = build_analyzer(refine(bench.config, Layer.of_key("--sweep precision", "precision", precision)))
        steps.append(_step("precision", precision, partial(_count, analyzer.analyze, bench.frames)))
    return steps


def _faces(bench: Bench) -> list[Step]:
    shown = most_certain_face(bench.frames, bench.analyse())
    if shown is None:
        raise ConfigError(f"--sweep faces: no face is found in the first {len(bench.frames)} frames of {bench.path}")
    frame, face = shown
    steps = []
    for count in (1, 10, 50, 100):
        crowds = [Frame(crowd(frame, face, count), index, bench.path, float(index)) for index in range(_CROWDS)]
        found = len(bench.analyzer.analyze(crowds[:1])[0].faces)
        steps.append(_step("faces", count, partial(_count, bench.analyzer.analyze, crowds), found=found))
    return steps


def _cameras(bench: Bench) -> list[Step]:
    def run(count: int) -> int:
        return len(bench.stream(copies=count)[0].results)

    counts = (1, 2, 4, 8, 16, 32, 64) if _on_gpu(bench) else (1, 2, 4, 8)
    return [_step("cameras", count, partial(run, count)) for count in counts]


def _quiet(bench: Bench) -> list[Step]:
    """Measure cameras of 5 fps, some of which show a place where nothing happens, with and without rests of the detector."""
    pictures = Pictures.of(bench)
    steps = []
    for busy, quiet in ((2, 2), (4, 4), (8, 8), (4, 12)):
        site = Site(pictures, busy, quiet, _CAMERAS_S)
        for motion in (False, True):
            config = refine(bench.config, Layer.of_key("--sweep quiet", "detector.motion", motion))
            extra = {"busy": busy, "motion": motion, "cores": cores_needed(bench, site, config)}
            run = partial(_run_cameras, bench, site, config, extra)
            steps.append(Step(quiet, Workload(f"{busy} busy, {quiet} quiet, motion {motion}", "", run), extra))
    return steps


def _live(bench: Bench) -> list[Step]:
    """Measure 1 to 64 cameras of 5 fps, half of which show a place where nothing happens."""
    pictures = Pictures.of(bench)
    steps = []
    for count in (1, 4, 16, 64):
        extra: dict[str, Any] = {}
        site = Site(pictures, busy=count - count // 2, quiet=count // 2, seconds=_CAMERAS_S)
        run = partial(_run_cameras, bench, site, bench.config, extra)
        steps.append(Step(count, Workload(f"{count} live cameras", "", run), extra))
    return steps


def _run_cameras(bench: Bench, site: Site, config: Config, extra: dict[str, Any]) -> int:
    """Run the program for some seconds, and put what was measured into the row of the table. The last round stays there.

    Of the memory, the least stays: the process keeps what a later row with more cameras has needed.
    """
    measured = run_cameras(bench, site, config)
    frames: int = measured.pop("frames")
    measured["rss_mb"] = min(measured["rss_mb"], extra.get("rss_mb", inf))
    extra |= measured
    return frames


def _every(bench: Bench) -> list[Step]:
    """Also compare propagated faces with the results of detector and classifier on the same frames."""
    detected = bench.analyse()

    def run(every: int) -> int:
        return len(bench.analyse(every))

    return [_step("every", n, partial(run, n), **_agreement(bench.analyse(n), detected)) for n in (1, 2, 3, 5, 8)]


SWEEPS: Final[dict[str, Callable[[Bench], list[Step]]]] = {
    "batch": _batch,
    "short_side": _short_side,
    "precision": _precision,
    "faces": _faces,
    "cameras": _cameras,
    "quiet": _quiet,
    "live": _live,
    "every": _every,
}


def _step(name: str, value: int | str, run: Callable[[], int], **extra: Any) -> Step:
    return Step(value, Workload(f"{name} {value}", "", run), extra)


def _count(analyze: Callable[[Sequence[Frame]], list[FrameResult]], frames: Sequence[Frame], size: int = 1) -> int:
    """Analyse frames in batches of `size` and return their number."""
    return sum(len(analyze(frames[start : start + size])) for start in range(0, len(frames), size))


def _agreement(found: Sequence[FrameResult], detected: Sequence[FrameResult]) -> dict[str, Any]:
    """Compare faces by frame.

    Returns:
        `found_again`: fraction of the detected faces that are found (IoU 0.5). `same_label`: fraction of these with an equal
        label. `iou`: their median IoU. `others_per_frame`: found faces without a detected one.
    """
    matched = same = expected = extra = 0
    ious = []
    for one, other in zip(found, detected, strict=True):
        expected += len(other.faces)
        extra += len(one.faces)
        if not one.faces or not other.faces:
            continue
        iou = box_iou(_boxes(one), _boxes(other))
        for row, column in zip(*linear_sum_assignment(-iou), strict=True):
            if iou[row, column] >= _SAME_IOU:
                matched += 1
                extra -= 1
                same += one.faces[row].label is other.faces[column].label
                ious.append(float(iou[row, column]))
    return {
        "found_again": round(matched / max(expected, 1), 4),
        "same_label": round(same / max(matched, 1), 4),
        "iou": round(float(np.median(ious)), 3) if ious else None,
        "others_per_frame": round(extra / max(len(found), 1), 3),
    }


def _boxes(result: FrameResult) -> FloatArray:
    return np.stack([face.face_box_xyxy for face in result.faces])
