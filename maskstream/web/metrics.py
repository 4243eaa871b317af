"""Serve Prometheus metrics, and whether the program is alive and ready."""

from collections.abc import Iterator, Sequence
from shutil import disk_usage
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from maskstream import __version__
from maskstream.store.store import StoreHealth
from maskstream.stream.states import SourceState
from maskstream.web.context import WebContext
from maskstream.web.fleet_metrics import FleetMetrics
from maskstream.web.live_counts import LATENCY_BOUNDS_S, CountsSnapshot
from maskstream.web.live_view import LiveView
from maskstream.web.metric_families import PREFIX, Described
from maskstream.web.problems import Problem
from maskstream.web.requests import context_of, in_thread
from maskstream.web.route import Route

_TICK_WITHIN_S: Final = 10.0
"""The thread that renders makes a turn at least this often."""


class _Live(Collector):
    """The metrics of cameras, tiles and viewers."""

    def __init__(self, view: LiveView) -> None:
        self._view = view

    def collect(self) -> Iterator[Metric]:
        yield from self._health()
        yield from self._totals()
        snapshots = self._view.snapshots()
        yield from _frames(snapshots)
        yield from _people(snapshots)
        yield from _events(snapshots)
        yield _latency(snapshots)
        yield from self._tiles()

    def _health(self) -> Iterator[Metric]:
        state = Described("camera_state", "1 for the state of the camera, 0 for the others.", ("camera", "state")).gauge()
        age = Described("frame_age_seconds", "Time since the last frame arrived.").gauge()
        for view in self._view.cameras():
            for each in SourceState:
                state.add_metric([view.camera, each.value], float(view.health.state is each))
            if view.health.frame_age_s is not None:
                age.add_metric([view.camera], view.health.frame_age_s)
        yield from (state, age)

    def _totals(self) -> Iterator[Metric]:
        received = Described("frames_received", "Frames that arrived.").counter()
        dropped = Described("frames_dropped", "Frames that were dropped, by reason.", ("camera", "reason")).counter()
        for name, totals in self._view.totals().items():
            received.add_metric([name], totals.received)
            for reason, number in totals.dropped.items():
                dropped.add_metric([name, reason], number)
        reconnects = Described("camera_reconnects", "Connections after a lost one.").counter()
        for name, number in self._view.reconnects().items():
            reconnects.add_metric([name], number)
        yield from (received, dropped, reconnects)
        progress = self._view.progress()
        batches = Described("batch_frames", "Frames per batch of the models.", ()).summary()
        tick = Described("render_age_seconds", "Time since the last turn of the thread that renders.", ()).gauge()
        if progress is not None:
            batches.add_metric([], progress.batches, progress.batch_frames)
            tick.add_metric([], progress.render_age_s)
        yield from (batches, tick)

    def _tiles(self) -> Iterator[Metric]:
        hub = self._view.hub
        sent = Described("web_tiles_sent", "Images that were sent to viewers.", ()).counter()
        sent.add_metric([], hub.sent)
        encoded = Described("web_tiles_encoded", "Images that were encoded, each for all its viewers.", ()).counter()
        encoded.add_metric([], hub.encoded)
        spent = Described("web_cpu_seconds", "Processor time to paint, encode and send images.", ()).counter()
        spent.add_metric([], hub.spent_s)
        skipped = Described("web_tiles_skipped", "Images that were left out, by reason.", ("reason",)).counter()
        skipped.add_metric(["unacknowledged"], hub.skipped_unacknowledged)
        skipped.add_metric(["overload"], hub.skipped_overload)
        yield from (_viewers(self._view), sent, encoded, skipped, spent)


def _viewers(view: LiveView) -> Metric:
    clients = Described("web_clients", "Clients with a live connection, and of MJPEG streams.", ("kind",)).gauge()
    clients.add_metric(["live"], len(view.clients))
    clients.add_metric(["mjpeg"], view.clients.streams)
    return clients


def _frames(snapshots: dict[str, CountsSnapshot]) -> Iterator[Metric]:
    analysed = Described("frames_analysed", "Frames that were analysed.").counter()
    stages = Described("stage_duration_seconds", "Time of each stage per analysed frame.", ("camera", "stage")).summary()
    for name, counts in snapshots.items():
        analysed.add_metric([name], counts.analysed)
        for stage, seconds in counts.stage_s.items():
            stages.add_metric([name, stage], counts.analysed, seconds)
    yield from (analysed, stages)


def _people(snapshots: dict[str, CountsSnapshot]) -> Iterator[Metric]:
    by_zone = ("camera", "zone", "label")
    faces = Described("faces", "Faces in analysed frames, by their label in the frame.", ("camera", "label")).counter()
    person_s = Described("person_seconds", "Seconds, summed over all tracked people.", by_zone).counter()
    present = Described("people_present", "People in the latest frame.", by_zone).gauge()
    for name, counts in snapshots.items():
        for label, number in counts.faces.items():
            faces.add_metric([name, label], number)
        for (zone, label), seconds in counts.person_s.items():
            person_s.add_metric([name, zone, label], seconds)
        for zone, label in {**counts.person_s, **counts.present}:
            present.add_metric([name, zone, label], counts.present[zone, label])
    yield from (faces, person_s, present)


def _events(snapshots: dict[str, CountsSnapshot]) -> Iterator[Metric]:
    events = Described("events", "Events that began.", ("camera", "zone", "label")).counter()
    open_events = Described("events_open", "Events that have not ended.").gauge()
    for name, counts in snapshots.items():
        for (zone, label), number in counts.events.items():
            events.add_metric([name, zone, label], number)
        open_events.add_metric([name], counts.open_events)
    yield from (events, open_events)


def _latency(snapshots: dict[str, CountsSnapshot]) -> Metric:
    text = "Time from the capture of a frame to its result, for live sources."
    latency = HistogramMetricFamily(f"{PREFIX}result_latency_seconds", text, labels=["camera"])
    for name, counts in snapshots.items():
        buckets: list[tuple[str, float]] = []
        below = 0
        for bound, number in zip((*LATENCY_BOUNDS_S, float("inf")), counts.latency_buckets, strict=True):
            below += number
            buckets.append(("+Inf" if bound == float("inf") else str(bound), below))
        if below:
            latency.add_metric([name], buckets, counts.latency_sum_s)
    return latency


class _FleetEvents(Collector):
    """The metrics of the events of a fleet, whose frames and people are counted on its nodes."""

    def __init__(self, view: LiveView) -> None:
        self._view = view

    def collect(self) -> Iterator[Metric]:
        yield from _events(self._view.snapshots())
        yield _viewers(self._view)


class _Program(Collector):
    """The metrics of the program, its store, its receivers and its web server."""

    def __init__(self, context: WebContext) -> None:
        self._context = context

    def collect(self) -> Iterator[Metric]:
        context = self._context
        build = Described("build_info", "Always 1; the label has the version.", ("version",)).gauge()
        build.add_metric([__version__], 1)
        yield build
        requests = Described("http_requests", "Answered requests.", ("route", "method", "status")).counter()
        for (route, method, status), number in list(context.counts.requests.items()):
            requests.add_metric([route, method, str(status)], number)
        logins = Described("logins", "Logins with a password, by outcome.", ("outcome",)).counter()
        for outcome, number in list(context.counts.logins.items()):
            logins.add_metric([outcome], number)
        yield from (requests, logins)
        yield from _deliveries(context)
        yield from _store(context.store.health())
        yield _disks((str(context.store.folder), *context.folders))


def _deliveries(context: WebContext) -> Iterator[Metric]:
    receiver = ("receiver",)
    waiting = Described("delivery_waiting_records", "Records that wait for a receiver of events.", receiver).gauge()
    oldest = Described("delivery_oldest_seconds", "Time that the oldest of them waits.", receiver).gauge()
    lost = Described("delivery_lost_records", "Records that were dropped, as the queue was full.", receiver).counter()
    for status in context.deliveries():
        waiting.add_metric([status.receiver], status.waiting)
        oldest.add_metric([status.receiver], status.oldest_s or 0.0)
        lost.add_metric([status.receiver], status.lost)
    yield from (waiting, oldest, lost)


def _store(health: StoreHealth) -> Iterator[Metric]:
    writable = Described("store_writable", "1 if the latest write to the store succeeded.", ()).gauge()
    writable.add_metric([], float(health.writable))
    size = Described("store_bytes", "Size of the store.", ()).gauge()
    size.add_metric([], health.size_bytes)
    waiting = Described("store_waiting_records", "Records that are not in the store yet.", ()).gauge()
    waiting.add_metric([], health.waiting_writes)
    lost = Described("store_lost_records", "Records that could not be stored.", ()).counter()
    lost.add_metric([], health.lost_writes)
    yield from (writable, size, waiting, lost)


def _disks(folders: Sequence[str]) -> Metric:
    free = Described("disk_free_bytes", "Room on the disk of a folder that the program writes to.", ("folder",)).gauge()
    for folder in dict.fromkeys(folders):
        try:
            free_bytes = disk_usage(folder).free
        except OSError:  # not created yet, or a disk that is gone
            continue
        free.add_metric([folder], free_bytes)
    return free


def registry_of(context: WebContext) -> CollectorRegistry:
    """Return the metrics of a program, and of its process."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Program(context))
    if context.fleet is not None:
        registry.register(FleetMetrics(context.fleet))
    if context.live is not None:
        registry.register(_Live(context.live) if context.fleet is None else _FleetEvents(context.live))
    ProcessCollector(registry=registry)
    return registry


def written(context: WebContext, accept: str) -> tuple[bytes, str]:
    """Return the metrics as text, and its media type. It reads disks: do not call it in the event loop."""
    encode, media_type = choose_encoder(accept)
    return encode(registry_of(context)), media_type


async def metrics(request: Request) -> Response:
    """Return the metrics for Prometheus."""
    content, media_type = await in_thread(written, context_of(request), request.headers.get("accept", ""))
    return Response(content, headers={"content-type": media_type})


class Check(TypedDict):
    """The answer of a successful check."""

    status: str


async def healthz(request: Request) -> Response:
    """Answer 200 while the program works: its threads, or the loop of the supervisor of a fleet, advance."""
    return _checked(dead(context_of(request)))


async def readyz(request: Request) -> Response:
    """Answer 200 when the models have analysed what arrived, and the store can be written. Cameras may be offline."""
    return _checked(await in_thread(unready, context_of(request)))


def dead(context: WebContext) -> str:
    """Return why the program does not work, and what to do; empty where it works."""
    if context.fleet is not None:
        return _stuck(context.fleet().turn_age_s)
    progress = None if context.live is None else context.live.progress()
    if progress is None:
        return ""
    if progress.render_age_s > _TICK_WITHIN_S:
        return (
            f"the thread that renders has not advanced for {progress.render_age_s:.0f} s; an output may block it, "
            "such as a pipe without reader; restart the program"
        )
    return "" if progress.inference_is_alive else "the inference thread has ended; see the log, and restart the program"


def _stuck(turn_age_s: float) -> str:
    if turn_age_s <= _TICK_WITHIN_S:
        return ""
    return f"the loop of the supervisor has not advanced for {turn_age_s:.0f} s; see the log, and restart the program"


def unready(context: WebContext) -> str:
    """Return why the program is not ready; empty where it is."""
    reason = dead(context)
    if reason:
        return reason
    if not context.store.health().writable:  # why is not for everyone to read
        return "the store cannot be written; see the log"
    view = context.live
    if view is None:
        return ""
    received = sum(totals.received for totals in view.totals().values())
    is_warm = received == 0 or any(counts.analysed for counts in view.snapshots().values())
    return "" if is_warm else "frames arrive, and the models have not analysed one yet; wait"


def _checked(reason: str) -> Response:
    if reason:
        raise Problem(503, reason)
    return Response(b'{"status": "ok"}', media_type="application/json")


ROUTES: Final = (
    Route("GET", "/healthz", "none", healthz, "Whether the program works", answer=Check),
    Route("GET", "/readyz", "none", readyz, "Whether the program is ready", answer=Check),
    Route("GET", "/metrics", "metrics", metrics, "Metrics for Prometheus", answer="text/plain"),
)
