from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from maskstream.clock import MONOTONIC
from maskstream.stream.batcher import Batcher
from maskstream.stream.capture import Captured, CaptureWorker, Item
from maskstream.stream.capture_workers import CaptureWorkers
from maskstream.stream.channel import Channel, Overflow
from maskstream.stream.inference_worker import InferenceWorker
from maskstream.stream.source_states import SourceStates
from maskstream.types import Frame, FrameResult
from tests.conftest import make_frame
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


class Records:
    """An asynchronous analyzer that records when each batch is begun, and when its results are taken."""

    is_asynchronous = True

    def __init__(self) -> None:
        self.steps: list[str] = []

    def forget(self, source_id: str) -> None:
        self.steps.append(f"forget {source_id}")

    def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
        self.steps.append(f"analyse {frames[0].index}")
        return [FrameResult.of(frame, (), (), {}) for frame in frames]

    def begin(self, frames: Sequence[Frame]) -> Callable[[], list[FrameResult]]:
        self.steps.append(f"begin {frames[0].index}")

        def results() -> list[FrameResult]:
            self.steps.append(f"results {frames[0].index}")
            return [FrameResult.of(frame, (), (), {}) for frame in frames]

        return results


def steps_of(worker: CaptureWorker, frames: int, is_live: bool = False, analyzer: Records | None = None) -> list[str]:
    """Return what an analyzer does with frames that have all arrived, two in a batch; the frames must come out in order."""
    analyzer = analyzer or Records()
    batcher: Batcher[Item] = Batcher(2)
    channel = batcher.channel()
    channel.keep(frames)
    for index in range(frames):
        channel.put(Captured(worker, make_frame(index), analyse=True))
    channel.finish()
    batcher.close()
    results: Channel[Item] = Channel(frames + 1, Overflow.WAIT)
    inference = InferenceWorker(analyzer, batcher, results, LONGEST_S, MONOTONIC)
    inference.is_live = is_live
    inference.thread.start()
    inference.thread.join()
    items = [results.poll() for _ in range(frames)]
    assert [item.frame.index for item in items if isinstance(item, Captured) and item.result] == list(range(frames))
    assert (inference.batches, inference.batch_frames) == (-(-frames // 2), frames)
    return analyzer.steps


def a_worker(*, has_predecessor: bool = False) -> CaptureWorker:
    workers = CaptureWorkers(config().stream, 2, SourceStates())
    workers.add(ListSource(0), True)
    (worker,) = workers
    worker.has_predecessor = has_predecessor
    return worker


def test_of_files_the_next_batch_is_begun_before_the_results_of_the_last_one_are_taken() -> None:
    assert steps_of(a_worker(), 5) == ["begin 0", "begin 2", "results 0", "begin 4", "results 2", "results 4"]


def test_live_frames_do_not_wait_for_the_batch_before_them() -> None:
    assert steps_of(a_worker(), 5, is_live=True) == ["analyse 0", "analyse 2", "analyse 4"]


def test_an_analyzer_that_is_not_asynchronous_gets_its_batches_one_after_the_other() -> None:
    analyzer = Records()
    analyzer.is_asynchronous = False
    assert steps_of(a_worker(), 3, analyzer=analyzer) == ["analyse 0", "analyse 2"]


def test_a_source_is_forgotten_before_its_successor_is_analysed() -> None:
    assert steps_of(a_worker(has_predecessor=True), 3) == ["forget made", "analyse 0", "begin 2", "results 2"]
