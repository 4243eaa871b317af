"""How the speed depends on one thing at a time, everything else being equal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from scipy.optimize import linear_sum_assignment

from maskstream.benchmark.crowds import crowd, most_certain_face
from maskstream.benchmark.rounds import Workload, take_turns
from maskstream.benchmark.workloads import Bench
from maskstream.config.loading import Layer, refine
from maskstream.errors import ConfigError
from maskstream.evaluation.matching import box_iou
from maskstream.inference.pipeline import build_analyzer
from maskstream.models.devices import CPU, pick_device
from maskstream.types import Frame, FrameResult

_CROWDS: Final = 3
"""Images of one turn of the sweep of faces."""
_SAME_IOU: Final = 0.5


@dataclass(frozen=True)
class Step:
    """One value of what is varied."""

    value: int
    workload: Workload
    extra: dict[str, Any]
    """What else is worth knowing of it."""


def run_sweep(name: str, bench: Bench, rounds: int, progress: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return milliseconds a frame, median and spread, for each value of what is varied.

    Args:
        name: One of `SWEEPS`.
        bench: What is timed.
        rounds: Turns of each value.
        progress: Told what is going on.

    Raises:
        ConfigError: The clip does not do for it.
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
    sizes = (size for size in (1, 2, 4, 8, *((16, 32) if _on_gpu(bench) else ())) if size <= len(bench.frames))
    return [_step("batch", size, partial(_count, bench.analyzer.analyze, bench.frames, size)) for size in sizes]


def _short_side(bench: Bench) -> list[Step]:
    steps = []
    for side in (256, 320, 384, 480, 640):
        layer = Layer.of_key("--sweep short_side", "detector.short_side", side)
        analyzer = build_analyzer(refine(bench.config, layer))
        steps.append(_step("short_side", side, partial(_count, analyzer.analyze, bench.frames)))
    return steps


def _faces(bench: Bench) -> list[Step]:
    shown = most_certain_face(bench.frames, bench.analyse())
    if shown is None:
        raise ConfigError(f"--sweep faces: no face is found in the first {len(bench.frames)} frames of {bench.path}")
    steps = []
    for count in (1, 10, 50, 100):
        crowds = [Frame(crowd(*shown, count), index, bench.path, float(index)) for index in range(_CROWDS)]
        found = len(bench.analyzer.analyze(crowds[:1])[0].faces)
        steps.append(_step("faces", count, partial(_count, bench.analyzer.analyze, crowds), found=found))
    return steps


def _cameras(bench: Bench) -> list[Step]:
    def run(count: int) -> int:
        return len(bench.stream(copies=count)[0].results)

    return [_step("cameras", count, partial(run, count)) for count in (1, 2, 4, 8, *((16, 32, 64) if _on_gpu(bench) else ()))]


def _every(bench: Bench) -> list[Step]:
    """Besides the time, how far followed faces agree with what detector and classifier say of the same frames."""
    looked_at = bench.analyse()

    def run(every: int) -> int:
        return len(bench.analyse(every))

    return [_step("every", n, partial(run, n), **_agreement(bench.analyse(n), looked_at)) for n in (1, 2, 3, 5, 8)]


SWEEPS: Final[dict[str, Callable[[Bench], list[Step]]]] = {
    "batch": _batch,
    "short_side": _short_side,
    "faces": _faces,
    "cameras": _cameras,
    "every": _every,
}


def _step(name: str, value: int, run: Callable[[], int], **extra: Any) -> Step:
    return Step(value, Workload(f"{name} {value}", "", run), extra)


def _count(analyze: Callable[[Sequence[Frame]], list[FrameResult]], frames: Sequence[Frame], size: int = 1) -> int:
    """Analyse frames, so many at a time, and return how many they were."""
    return sum(len(analyze(frames[start : start + size])) for start in range(0, len(frames), size))


def _agreement(found: Sequence[FrameResult], looked_at: Sequence[FrameResult]) -> dict[str, Any]:
    """Return the share of faces that are found again (IoU 0.5), of those the same label, and how many are none, a frame."""
    again = same = expected = extra = 0
    ious = []
    for one, other in zip(found, looked_at, strict=True):
        mine, theirs = ([face.face_box_xyxy for face in result.faces] for result in (one, other))
        expected += len(theirs)
        extra += len(mine)
        if not mine or not theirs:
            continue
        iou = box_iou(np.stack(mine), np.stack(theirs))
        for row, column in zip(*linear_sum_assignment(-iou), strict=True):
            if iou[row, column] >= _SAME_IOU:
                again += 1
                extra -= 1
                same += one.faces[row].label is other.faces[column].label
                ious.append(float(iou[row, column]))
    return {
        "found_again": round(again / max(expected, 1), 4),
        "same_label": round(same / max(again, 1), 4),
        "iou": round(float(np.median(ious)), 3) if ious else None,
        "others_per_frame": round(extra / max(len(found), 1), 3),
    }
