from collections.abc import Sequence
from dataclasses import replace

import pytest

from maskstream.clock import MONOTONIC
from maskstream.stream.capture import Captured, Item
from maskstream.stream.capture_workers import CaptureWorkers
from maskstream.stream.channel import Channel, Overflow
from maskstream.stream.inference_worker import InferenceWorker
from maskstream.stream.source_states import SourceStates
from maskstream.types import Frame, FrameResult
from tests.slowness import LONGEST_S
from tests.stream.test_engine import ListSource, config


class Rests:
    """Finds nothing; the detector rests on the frames of some sources."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def forget(self, source_id: str) -> None: ...

    def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
        return [replace(FrameResult.of(frame, (), (), {}), rested=frame.source_id in self._names) for frame in frames]


@pytest.mark.parametrize(("live", "quiet"), [(True, ["door"]), (False, [])], ids=["cameras", "files"])
def test_cameras_on_which_the_detector_rests_are_quiet_in_the_batcher(live: bool, quiet: list[str]) -> None:
    """A file loses no frame to another one: it keeps its turns."""
    workers = CaptureWorkers(config().stream, 4, SourceStates())
    for name in ("door", "yard"):
        workers.add(ListSource(1, name, live=live), True)
    results: Channel[Item] = Channel(10, Overflow.WAIT)
    inference = InferenceWorker(Rests("door"), workers.batcher, results, LONGEST_S, MONOTONIC)
    workers.start()
    inference.thread.start()
    items = []
    while not results.exhausted:
        items.append(results.get(0.05))
    assert sorted(item.frame.source_id for item in items if isinstance(item, Captured)) == ["door", "yard"]
    assert [worker.info.source_id for worker in workers if worker.channel in workers.batcher.quiet] == quiet
    workers.close()
    assert workers.join(inference.thread) == 0
