"""Build the engine of a node: without sources at first, with the cameras that a supervisor assigns."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Final

import numpy as np

from maskstream import __version__
from maskstream.cli.assembly import Assembly, load_models
from maskstream.cli.reporting import Reporting
from maskstream.clock import Clock
from maskstream.config.cameras import Camera
from maskstream.config.loading import Layer, load_config
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.errors import MaskStreamError
from maskstream.events.sink import Receiver
from maskstream.events.types import EventOrCounts
from maskstream.fleet.agent import NodeSettings
from maskstream.fleet.assigned_cameras import AssignedCameras
from maskstream.fleet.capacity import Capacity
from maskstream.fleet.engine_report import OpenedCameras
from maskstream.fleet.wire import Versions
from maskstream.inference.analyzer import Analyzer
from maskstream.inference.weights_hashes import weights_hashes
from maskstream.io.file_names import FileNames
from maskstream.stream.engine import Engine, EngineHooks
from maskstream.stream.live_cameras import CameraWork, LiveCameras, Opened
from maskstream.stream.sink_group import SinkBinding
from maskstream.stream.source_states import SourceStates
from maskstream.stream.states import SourceStatus, StateChange
from maskstream.types import Frame

_PROBES: Final = 3
_PROBE_SHAPE: Final = (360, 640, 3)
NODE_LAYER: Final = Layer(
    "a node of a fleet", {"events": {"mqtt": None, "webhooks": []}, "web": {"listen": None}, "store": {"folder": None}}
)
"""The receivers, the store and the dashboard are the supervisor's."""


@dataclass(frozen=True)
class NodeParts:
    """What all engines of a node share, one after the other."""

    receiver: Receiver
    """Receives the events and counts of all engines."""
    may_watch: Callable[[], bool]
    """Whether the node may watch its cameras now."""
    clock: Clock
    opened: OpenedCameras = field(default_factory=OpenedCameras)
    failures: dict[str, str] = field(default_factory=dict)
    """Why cameras could not be opened, by name."""


@dataclass(frozen=True)
class BuiltEngine:
    """An engine, and what is reported of it."""

    engine: Engine
    config: Config
    cameras: AssignedCameras
    capacity: Capacity
    versions: Versions


def build_node_engine(given: NodeSettings, parts: NodeParts) -> BuiltEngine:
    """Load the models, and connect them with an engine without sources.

    Raises:
        MaskStreamError: A setting is wrong on this node, or a model cannot be loaded.
    """
    overrides = [Layer(origin, values) for origin, values in given.overrides]
    layers = [Layer(origin, values) for origin, values in given.layers]
    config = load_config(None, [*layers, *overrides, NODE_LAYER])
    settings, states = SourceSettings(config), SourceStates(parts.clock)
    reporting = Reporting(settings)
    reporting.require_people("events", None)
    analyzer = load_models(settings, several=True)
    capacity = Capacity(_probed_fps(analyzer))
    assembly = Assembly(analyzer, settings, states)
    cameras = AssignedCameras(config, parts.may_watch, overrides, parts.clock)
    live = LiveCameras(cameras, [], settings, _noting(assembly.camera_work(None, FileNames()), parts), states)
    events = reporting.event_sink(_SharedReceiver(parts))
    hooks = EngineHooks(listeners=[events], maintain=live.maintain, leave=live.leave)
    engine = assembly.engine(hooks)
    engine.add([], [SinkBinding(events, None), SinkBinding(parts.opened, None)])
    versions = Versions(__version__, weights_hashes(config), _hash_of(config))
    return BuiltEngine(engine, config, cameras, capacity, versions)


def _probed_fps(analyzer: Analyzer) -> float:
    """Return how many images without faces the models analyse per second: the capacity before cameras are measured."""
    frames = [Frame(np.full(_PROBE_SHAPE, 127, np.uint8), index, "probe", 0.0) for index in range(_PROBES + 1)]
    analyzer.analyze(frames[:1])  # the first call allocates memory
    began_s = perf_counter()
    for frame in frames[1:]:
        analyzer.analyze([frame])
    return _PROBES / (perf_counter() - began_s)


def _noting(work: CameraWork, parts: NodeParts) -> CameraWork:
    """Return the same work. It notes which camera is opened for which assignment, and why one cannot be."""

    def opened(camera: Camera, status: SourceStatus) -> Opened:
        parts.opened.opened(camera.name, camera.epoch)
        try:
            result = work.open(camera, status)
        except MaskStreamError as error:
            parts.failures[camera.name] = str(error)
            raise
        parts.failures.pop(camera.name, None)
        return result

    return replace(work, open=opened)


def _hash_of(config: Config) -> str:
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()


class _SharedReceiver:
    """Lends the receiver of the node to one engine, which does not close it."""

    def __init__(self, parts: NodeParts) -> None:
        self._parts = parts

    def take(self, items: Sequence[EventOrCounts]) -> None:
        """Note which events are open, and pass the records on."""
        self._parts.opened.take(items)
        self._parts.receiver.take(items)

    def state_changed(self, change: StateChange) -> None:
        """Pass on the state of a camera."""
        self._parts.receiver.state_changed(change)

    def health(self) -> str:
        """Return what the receiver says about the records that wait."""
        return self._parts.receiver.health()

    def close(self) -> None:
        """Do nothing: the next engine uses the receiver."""
