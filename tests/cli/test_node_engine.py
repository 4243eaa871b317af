"""The engine of a node: without sources, with assigned cameras, after a failure, with other settings, after its end."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from maskstream.cli.node_build import NodeParts
from maskstream.cli.node_engine import NodeEngine
from maskstream.clock import MONOTONIC
from maskstream.events.types import EventOrCounts, MaskEvent
from maskstream.fleet.agent import EngineReport, NodeSettings
from maskstream.fleet.wire import Assignment
from tests.conftest import DEMO
from tests.fleet.simulated import Received
from tests.receivers import wait_until

QUICK = {"events": {"min_seconds": 0.2}, "stream": {"realtime": True, "stride": 4}}


@dataclass
class Node:
    """An engine, and what its receiver got."""

    received: Received = field(default_factory=Received)
    is_allowed: bool = True

    def __post_init__(self) -> None:
        self.parts = NodeParts(self.received, lambda: self.is_allowed, MONOTONIC)
        self.engine = NodeEngine(self.parts)

    def apply(self, *assignments: Assignment, **settings: Any) -> None:
        self.engine.apply(NodeSettings((("test", QUICK | settings),)), assignments)

    def until(self, holds: Callable[[EngineReport], object]) -> EngineReport:
        wait_until(lambda: bool(holds(self.engine.report())))
        return self.engine.report()

    def ends(self) -> list[str | None]:
        return [item.cause for item in events(self.received.items) if item.cause is not None]


def events(items: Sequence[EventOrCounts]) -> list[MaskEvent]:
    return [item for item in items if isinstance(item, MaskEvent)]


@pytest.fixture
def node() -> Iterator[Node]:
    made = Node()
    yield made
    made.engine.stop()
    wait_until(lambda: made.engine.report() == EngineReport())


def camera(name: str, epoch: int, url: str = str(DEMO)) -> Assignment:
    return Assignment(name, epoch, {"name": name, "url": url})


def online(*names: str) -> Callable[[EngineReport], bool]:
    return lambda report: {each.camera for each in report.cameras if each.first_frame_utc is not None} == set(names)


def test_an_engine_without_sources_watches_what_is_assigned(node: Node) -> None:
    node.apply()
    empty = node.until(lambda report: report.capacity_fps > 0)
    assert (empty.cameras, empty.problems) == ((), ())
    weights = {"face_mobilenet.safetensors", "mask_mobilenet.safetensors", "mask_resnet18.safetensors"}
    named = {name for name in empty.versions.weights if ".int8." not in name}  # graphs, where this CPU computes in int8
    assert named == weights, "also those of other devices: nodes may have different ones"
    node.apply(camera("a", 3), camera("b", 4, "no.mp4"))
    both = node.until(online("a")).cameras
    assert [(each.camera, each.epoch) for each in both] == [("a", 3), ("b", 4)]
    assert both[0].wanted_fps > 0
    node.until(lambda report: report.cameras[1].reason == "no.mp4: no such file; check the path")
    wait_until(lambda: len(events(node.received.items)) > 0)
    first_frame = node.engine.report().cameras[0].first_frame_utc
    node.apply(camera("a", 5))
    again = node.until(online("a")).cameras[0]
    assert again.epoch == 5
    assert first_frame is not None
    assert again.first_frame_utc is not None
    assert again.first_frame_utc > first_frame
    assert node.ends()[-1] == "removed"
    node.is_allowed = False
    node.until(online())
    node.engine.stop()
    node.until(lambda report: report == EngineReport())
    node.apply(camera("a", 6))
    assert node.engine.report() == EngineReport()
    node.engine.resume()
    node.is_allowed = True
    node.apply(camera("a", 6))
    node.until(online("a"))


def test_a_failed_engine_is_reported_and_built_again_with_other_settings(node: Node) -> None:
    node.apply(camera("a", 1), classifier={"weights": "none.safetensors"})
    failed = node.until(lambda report: report.problems and "none.safetensors" in report.problems[0])
    assert failed.capacity_fps == 0
    assert (failed.cameras[0].state, failed.cameras[0].reason) == ("offline", failed.problems[0])
    node.apply(camera("a", 1))
    node.until(online("a"))
    node.apply(camera("a", 1), detector={"min_score": 0.6})
    node.until(lambda report: report.capacity_fps == 0)
    node.until(online("a"))
