"""Make the metrics of a fleet: its nodes, where its cameras are placed, and the loop of its supervisor."""

from collections.abc import Callable, Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from maskstream.fleet.status import FleetStatus
from maskstream.stream.states import SourceState
from maskstream.web.metric_families import Described

_ANSWERS = ("up", "draining")
"""The states of nodes that answer and may have cameras."""


class FleetMetrics(Collector):
    """The metrics of a fleet."""

    def __init__(self, status: Callable[[], FleetStatus]) -> None:
        """Read nothing yet."""
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of now."""
        status = self._status()
        yield from _nodes(status)
        yield from _cameras(status)
        generation = Described("site_generation", "Number of accepted edits of the site file.", ()).gauge()
        generation.add_metric([], status.generation)
        stale = Described("fleet_stale_records", "Records of a former node of a camera that were left out.", ()).counter()
        stale.add_metric([], status.stale_records)
        turn = Described("supervisor_turn_age_seconds", "Time since the last turn of the supervisor's loop.", ()).gauge()
        turn.add_metric([], status.turn_age_s)
        yield from (generation, stale, turn)


def _nodes(status: FleetStatus) -> Iterator[Metric]:
    node = ("node",)
    up = Described("node_up", "1 if the node answers and may have cameras.", node).gauge()
    draining = Described("node_draining", "1 if the cameras of the node move away.", node).gauge()
    heard = Described("node_heard_seconds", "Time since the last reply of the node.", node).gauge()
    capacity = Described("node_capacity_fps", "Frames that the node can analyse per second.", node).gauge()
    used = Described("node_used_fps", "Frames that the cameras of the node need per second.", node).gauge()
    cameras = Described("node_cameras", "Cameras that are placed on the node.", node).gauge()
    waiting = Described("node_waiting_records", "Records on the node that the supervisor has not committed.", node).gauge()
    offset = Described("node_clock_offset_seconds", "Clock of the node minus that of the supervisor.", node).gauge()
    for each in status.nodes:
        labels = [each.name]
        up.add_metric(labels, float(each.state in _ANSWERS))
        draining.add_metric(labels, float(each.name in status.drain))
        if each.heard_s is not None:
            heard.add_metric(labels, each.heard_s)
        capacity.add_metric(labels, each.capacity_fps)
        used.add_metric(labels, each.used_fps)
        cameras.add_metric(labels, each.cameras)
        waiting.add_metric(labels, each.waiting)
        offset.add_metric(labels, each.clock_offset_s)
    yield from (up, draining, heard, capacity, used, cameras, waiting, offset)


def _cameras(status: FleetStatus) -> Iterator[Metric]:
    state = Described("camera_state", "1 for the state of the camera, 0 for the others.", ("camera", "state")).gauge()
    placed = Described("camera_placed", "1 if a node that answers has the camera.").gauge()
    epoch = Described("camera_epoch", "Number of the assignment of the camera to its node.", ("camera", "node")).gauge()
    captured = Described("camera_captured_fps", "Frames that arrive per second.").gauge()
    analysed = Described("camera_analysed_fps", "Frames that are analysed per second.").gauge()
    dropped = Described("camera_dropped_ratio", "Fraction of the frames that is not analysed.").gauge()
    for each in status.cameras:
        for known in SourceState:
            state.add_metric([each.name, known.value], float(each.state == known))
        placed.add_metric([each.name], float(each.state not in ("unplaced", "unknown")))
        if each.node is not None:
            epoch.add_metric([each.name, each.node], each.epoch)
        captured.add_metric([each.name], each.captured_fps)
        analysed.add_metric([each.name], each.analysed_fps)
        dropped.add_metric([each.name], each.dropped_share)
    yield from (state, placed, epoch, captured, analysed, dropped)
