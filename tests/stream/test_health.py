from dataclasses import replace

from maskstream.stream.capture_workers import CaptureWorkers
from maskstream.stream.source_states import SourceStates
from maskstream.types import FrameResult
from tests.conftest import make_frame
from tests.stream.test_engine import ListSource, config


def test_the_health_of_a_source_says_how_often_the_detector_rested() -> None:
    workers = CaptureWorkers(config().stream, 1, SourceStates())
    workers.add(ListSource(1, live=True), True)
    (camera,) = workers
    assert "rested" not in str(camera.health(0.0))
    for rested in (True, False, True, True):
        camera.meter.analysed(replace(FrameResult.of(make_frame(), (), (), {}), rested=rested))
    assert camera.health(0.0).rested == 0.75
    assert ", the detector rested on 75%" in str(camera.health(0.0))
    workers.close()
    assert workers.join() == 0
