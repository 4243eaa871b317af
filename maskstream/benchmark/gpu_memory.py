"""Check the memory of a device: arrays that are filled again, and a device without free memory."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch

from maskstream.benchmark.gpu_equivalence import EXACT, agreement
from maskstream.benchmark.gpu_setup import Check, as_frame, shifted, tf32
from maskstream.errors import OutOfMemory
from maskstream.inference.analyzer import Analyzer
from maskstream.types import BgrImage, Frame, FrameResult

_BUFFERS: Final = 2
_FIRST_BATCH: Final = 32
_LARGEST_BATCH: Final = 256
_TIMES_LARGER: Final = 3.0
"""Memory of the batch that must not fit, relative to one frame."""


@tf32(convolutions=False, products=False)
def buffers(check: Check) -> dict[str, Any]:
    """Fill the same arrays again, as camera loops do: the results must belong to the new content."""
    min_score = check.config().detector.min_score
    first = [frame.bgr for frame in check.frames if frame.bgr.shape == check.frames[0].bgr.shape][:_BUFFERS]
    fillings = (first, [shifted(bgr) for bgr in first])
    expected = [check.analyzer().analyze([as_frame(bgr.copy()) for bgr in images]) for images in fillings]
    if not agreement(expected[0], expected[1], min_score).failures(EXACT):
        return {"passed": False, "said": "the shifted images have the same results, so the check has no meaning"}
    failures = []
    for execution in check.executions:
        found = _analyse_in_same_arrays(check.analyzer(execution=execution), fillings)
        for number in range(len(fillings)):
            compared = agreement(expected[number], found[number], min_score)
            failures += [f"{execution}, filling {number + 1}: {failure}" for failure in compared.failures(EXACT)]
    faces = sum(len(result.faces) for result in expected[1])
    said = failures or [
        f"{faces} faces have the places of the second content of {len(first)} arrays ({', '.join(check.executions)})"
    ]
    return {"passed": not failures, "said": "; ".join(said), "faces": faces}


def _analyse_in_same_arrays(analyzer: Analyzer, fillings: Sequence[Sequence[BgrImage]]) -> list[list[FrameResult]]:
    arrays = [np.empty_like(bgr) for bgr in fillings[0]]
    found = []
    for images in fillings:
        for array, bgr in zip(arrays, images, strict=True):
            array[:] = bgr
        found.append(analyzer.analyze([as_frame(array) for array in arrays]))
        for array in arrays:
            array[:] = 0  # a late read of the array finds no face
    return found


@tf32(convolutions=False, products=False)
def out_of_memory(check: Check) -> dict[str, Any]:
    """Limit the memory: a batch must raise `OutOfMemory`, and a smaller batch must succeed, as in the stream."""
    if not check.is_cuda:
        return {"skipped": f"the memory of {check.device} cannot be limited; only CUDA has this setting"}
    analyzer, min_score = check.analyzer(), check.config().detector.min_score
    one = check.timed_images(1)
    expected = analyzer.analyze(one)
    _, needed_by_one = _peaks(check, analyzer, one)
    count, needed = _large_batch(check, analyzer, _TIMES_LARGER * needed_by_one)
    if count > _LARGEST_BATCH:
        return {"passed": False, "said": f"{count // 2} frames need no more memory than one"}
    frames = check.timed_images(count)
    limit = (needed_by_one + needed) // 2
    record: dict[str, Any] = {"frames": count, "needed_mb": needed >> 20, "limit_mb": limit >> 20, "one_mb": needed_by_one >> 20}
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(check.device).total_memory
    torch.cuda.set_per_process_memory_fraction(limit / total, check.device)
    try:
        error = _error_of(analyzer, frames)
        fitting = most_that_fit(analyzer, frames)
        after = analyzer.analyze(one)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, check.device)
        torch.cuda.empty_cache()
    record |= {"error": error, "fitting": fitting}
    failures = [] if error else [f"{count} frames succeeded with {limit >> 20} MB, which should not be enough"]
    failures += [f"one frame afterwards: {each}" for each in agreement(expected, after, min_score).failures(EXACT)]
    analyzer.analyze(frames)  # with the complete memory again
    said = f"{count} frames with {limit >> 20} MB: OutOfMemory; {fitting} at a time succeed; one frame has the same faces"
    return {"passed": not failures, "said": "; ".join(failures) or said, **record}


def _large_batch(check: Check, analyzer: Analyzer, least_bytes: float) -> tuple[int, int]:
    """Double the batch until it needs enough memory; return its size and its bytes.

    The size is more than `_LARGEST_BATCH` if no batch needs enough.
    """
    count = _FIRST_BATCH
    while count <= _LARGEST_BATCH:
        needed, _ = _peaks(check, analyzer, check.timed_images(count))
        if needed >= least_bytes:
            return count, needed
        count *= 2
    return count, 0


def _peaks(check: Check, analyzer: Analyzer, frames: Sequence[Frame]) -> tuple[int, int]:
    """Return the allocated and the reserved bytes of a batch at their peak."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(check.device)
    analyzer.analyze(frames)
    return torch.cuda.max_memory_allocated(check.device), torch.cuda.max_memory_reserved(check.device)


def _error_of(analyzer: Analyzer, frames: Sequence[Frame]) -> str | None:
    """Return the message of `OutOfMemory`; None if the batch succeeds."""
    try:
        analyzer.analyze(frames)
    except OutOfMemory as error:
        return str(error)
    return None


def most_that_fit(analyzer: Analyzer, frames: Sequence[Frame]) -> int:
    """Halve a batch until it succeeds, as the stream does; raise `OutOfMemory` if one frame does not."""
    count = len(frames)
    while _error_of(analyzer, frames[:count]) is not None:
        if count == 1:
            raise OutOfMemory("one frame alone does not fit")
        count //= 2
    return count
