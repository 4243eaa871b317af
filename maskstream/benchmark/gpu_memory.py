"""What may go wrong with memory: an array that is filled again, and a device that has no room left."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch

from maskstream.benchmark.gpu_equivalence import EXACT, agreement
from maskstream.benchmark.gpu_setup import Check, as_frame, shifted
from maskstream.errors import OutOfMemory
from maskstream.inference.analyzer import Analyzer
from maskstream.types import Frame, FrameResult

_BUFFERS: Final = 2
_FIRST_BATCH: Final = 32
_LARGEST_BATCH: Final = 256
_TIMES_LARGER: Final = 3.0
"""The memory of the batch that must not fit, against all that one frame takes."""


def buffers(check: Check) -> dict[str, Any]:
    """Fill the same arrays again, as loops around a camera do: the answers must be those of what they hold now."""
    analyzer, min_score = check.analyzer(), check.config().detector.min_score
    first = [frame.bgr for frame in check.frames if frame.bgr.shape == check.frames[0].bgr.shape][:_BUFFERS]
    second = [shifted(bgr) for bgr in first]
    arrays = [np.empty_like(bgr) for bgr in first]
    found: list[list[FrameResult]] = []
    for images in (first, second):
        for array, bgr in zip(arrays, images, strict=True):
            array[:] = bgr
        found.append(analyzer.analyze([as_frame(array) for array in arrays]))
        for array in arrays:
            array[:] = 0  # who still reads it, sees nothing
    expected = [check.analyzer().analyze([as_frame(bgr.copy()) for bgr in images]) for images in (first, second)]
    if not agreement(expected[0], expected[1], min_score).failures(EXACT):
        return {"passed": False, "said": "the pictures have the same answers when they are shifted: nothing could be told apart"}
    failures = []
    for number, (one, other) in enumerate(zip(expected, found, strict=True), 1):
        failures += [f"filling {number}: {each}" for each in agreement(one, other, min_score).failures(EXACT)]
    faces = sum(len(result.faces) for result in found[1])
    said = failures or [f"{faces} faces are where the second filling of {len(arrays)} arrays has them"]
    return {"passed": not failures, "said": "; ".join(said), "faces": faces}


def out_of_memory(check: Check) -> dict[str, Any]:
    """Take the room for a batch away: `OutOfMemory` must come, and fewer frames must go through, as in the stream."""
    if not check.is_cuda:
        return {"skipped": f"the memory of {check.device} cannot be limited; that is done on CUDA alone"}
    analyzer, min_score = check.analyzer(), check.config().detector.min_score
    one = check.timed_images(1)
    expected = analyzer.analyze(one)
    _, needed_by_one = _peaks(check, analyzer, one)
    count = _FIRST_BATCH
    while (needed := _peaks(check, analyzer, check.timed_images(count))[0]) < _TIMES_LARGER * needed_by_one:
        count *= 2
        if count > _LARGEST_BATCH:
            return {"passed": False, "said": f"{count // 2} frames take no more room than one"}
    frames = check.timed_images(count)
    limit = (needed_by_one + needed) // 2
    record: dict[str, Any] = {"frames": count, "needed_mb": needed >> 20, "limit_mb": limit >> 20, "one_mb": needed_by_one >> 20}
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(limit / _total(check), check.device)
    try:
        error = _error_of(analyzer, frames)
        fitting = most_that_fit(analyzer, frames)
        after = analyzer.analyze(one)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, check.device)
        torch.cuda.empty_cache()
    record |= {"error": error, "fitting": fitting}
    failures = [] if error else [f"{count} frames went through with {limit >> 20} MB, which should not have been enough"]
    failures += [f"one frame afterwards: {each}" for each in agreement(expected, after, min_score).failures(EXACT)]
    analyzer.analyze(frames)  # with all memory again
    said = f"{count} frames with {limit >> 20} MB: OutOfMemory, {fitting} at a time go through, one has the same faces as before"
    return {"passed": not failures, "said": "; ".join(failures) or said, **record}


def _peaks(check: Check, analyzer: Analyzer, frames: Sequence[Frame]) -> tuple[int, int]:
    """Return the bytes that were needed for a batch, and all that were taken from the device for it."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(check.device)
    analyzer.analyze(frames)
    return torch.cuda.max_memory_allocated(check.device), torch.cuda.max_memory_reserved(check.device)


def _total(check: Check) -> int:
    total: int = torch.cuda.get_device_properties(check.device).total_memory
    return total


def _error_of(analyzer: Analyzer, frames: Sequence[Frame]) -> str | None:
    """Return what `OutOfMemory` says; None where there was room."""
    try:
        analyzer.analyze(frames)
    except OutOfMemory as error:
        return str(error)
    return None


def most_that_fit(analyzer: Analyzer, frames: Sequence[Frame]) -> int:
    """Halve a batch until it goes through, as the stream does; `OutOfMemory` where one frame alone does not."""
    count = len(frames)
    while _error_of(analyzer, frames[:count]) is not None:
        if count == 1:
            raise OutOfMemory("one frame alone does not fit")
        count //= 2
    return count
