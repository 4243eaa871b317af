"""/metrics, /healthz and /readyz of a real engine, and the board and the alert rules that use the metrics."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from maskstream.config.source_settings import SourceSettings
from maskstream.events.delivery import DeliveryStatus
from maskstream.events.types import MaskEvent, Observation, Phase, Timestamp
from maskstream.inference.analyzer import Analyzer
from maskstream.store.store import Store
from maskstream.stream.engine import Engine, EngineHooks
from maskstream.stream.sink_group import SinkBinding
from maskstream.stream.source_states import SourceStates
from maskstream.stream.states import SourceState
from maskstream.types import Frame, Label, Output
from maskstream.web.context import WebContext
from maskstream.web.live_sink import LiveEvents, LiveSink
from maskstream.web.live_view import LiveView
from maskstream.web.metrics import dead, registry_of, unready, written
from tests.clocks import ManualClock
from tests.conftest import ROOT, make_detection, make_face
from tests.fleet.statuses import fleet
from tests.inference.test_analyzer import GivenClassifier, GivenDetector
from tests.receivers import wait_until
from tests.slowness import promised
from tests.stream.test_engine import ListSource, config, paint
from tests.web.live import FedView
from tests.web.site import fleet_context, running_site

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
PROMETHEUS = ROOT / "deploy" / "prometheus"
BOARD = ROOT / "deploy" / "grafana" / "maskstream.json"


class Camera(ListSource):
    """A live source that sends frames until it is closed."""

    def __init__(self, name: str) -> None:
        super().__init__(100_000, name, live=True, wait_s=0.005)

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            yield replace(frame, wall_time=datetime.now(UTC))


def samples(context: WebContext) -> Samples:
    text = written(context, "")[0].decode()
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found, "a sample is given twice"
            found[key] = sample.value
    return found


@pytest.fixture
def context(tmp_path: Path) -> Iterator[WebContext]:
    with Store(tmp_path) as store:
        yield WebContext(store, config(), live=LiveView(SourceSettings(config())))


@contextmanager
def running(context: WebContext, *names: str, maintain: Callable[[Engine], None] = lambda _engine: None) -> Iterator[Engine]:
    """Run cameras in a thread."""
    view = context.live
    assert view is not None
    sink = LiveSink(view)
    settings = config()
    analyzer = Analyzer(GivenDetector([make_detection()]), GivenClassifier(), settings)
    engine = Engine(analyzer, paint, settings.stream, 4, EngineHooks(listeners=[sink], maintain=maintain), SourceStates())
    engine.add([Camera(name) for name in names], [SinkBinding(sink, None)])
    view.watch(engine)
    thread = threading.Thread(target=engine.run, daemon=True)
    thread.start()
    try:
        yield engine
    finally:
        engine.stop()
        thread.join(60)


def test_a_run_has_its_metrics(context: WebContext) -> None:
    with running(context, "door", "hall"):
        for name in ("door", "hall"):
            analysed = "maskstream_frames_analysed_total", (("camera", name),)
            wait_until(lambda analysed=analysed: samples(context).get(analysed, 0) >= 3)  # type: ignore[misc]
        found = samples(context)
    door = ("camera", "door")
    assert found["maskstream_frames_received_total", (door,)] >= found["maskstream_frames_analysed_total", (door,)] > 0
    assert found["maskstream_faces_total", (door, ("label", "mask"))] > 0
    assert found["maskstream_result_latency_seconds_bucket", (door, ("le", "+Inf"))] > 0
    assert found["maskstream_stage_duration_seconds_count", (door, ("stage", "detect"))] > 0
    assert found["maskstream_batch_frames_sum", ()] >= found["maskstream_batch_frames_count", ()] > 0
    assert found["maskstream_frames_dropped_total", (door, ("reason", "decode"))] == 0
    assert found["process_resident_memory_bytes", ()] > 0
    assert not any("://" in value for _, labels in found for _, value in labels)


def test_counters_never_fall_when_a_camera_is_removed_and_added_again(context: WebContext) -> None:
    """Nor do they lose what was counted between two scrapes."""
    commands: list[Callable[[Engine], None]] = []

    def obey(engine: Engine) -> None:
        engine.expect(True)
        while commands:
            commands.pop()(engine)

    def counters(found: Samples) -> Samples:
        ends = ("_total", "_count", "_sum", "_bucket")
        return {key: value for key, value in found.items() if key[0].endswith(ends) and key[0].startswith("maskstream_")}

    with running(context, "door", maintain=obey) as engine:
        before: Samples = {}
        for _ in range(3):
            analysed = before.get(("maskstream_frames_analysed_total", (("camera", "door"),)), 0)
            wait_until(lambda n=analysed: engine.totals()["door"].received >= n + 3)  # type: ignore[misc]
            commands.append(lambda engine: engine.remove("door", "edited"))
            wait_until(lambda: engine.health() == [])
            removed = counters(samples(context))
            commands.append(lambda engine: engine.add([Camera("door")], []))
            wait_until(lambda: bool(engine.health()))
            after = counters(samples(context))
            for earlier, later in ((before, removed), (removed, after)):
                assert [key for key, value in earlier.items() if later.get(key, -1) < value] == []
            before = after
        assert before["maskstream_frames_received_total", (("camera", "door"),)] >= 9


def test_reconnects_are_counted_and_the_first_connection_is_not() -> None:
    fed = FedView()
    connecting, online, _, reconnecting, offline, _ = SourceState
    fed.state(connecting, None)
    fed.state(offline, connecting)
    fed.state(online, offline)
    assert fed.view.reconnects() == {"a": 0}
    for before in (reconnecting, offline):
        fed.state(before, online)
        fed.state(online, before)
    assert fed.view.reconnects() == {"a": 2}
    fed.sink.source_removed("a")
    fed.state(online, connecting)
    assert fed.view.reconnects() == {"a": 2}


def test_person_seconds_and_events_are_counted_by_zone_and_label(context: WebContext) -> None:
    fed = FedView()
    context = replace(context, live=fed.view)
    face = replace(make_face(Label.NO_MASK), track_id=7, zone="door")
    for number in range(11):
        fed.frame(time_s=number / 10, faces=(face,))
    best = Observation(Timestamp(1, 0.1, None), 0.9, face.face_box_xyxy, None)
    started = MaskEvent("e", 0, Phase.START, Label.NO_MASK, "a", 7, "door", best.timestamp, best.timestamp, 0.9, best)
    LiveEvents(fed.view).take([started, replace(started, sequence=1, phase=Phase.UPDATE)])
    key = (("camera", "a"), ("label", "no_mask"), ("zone", "door"))
    found = samples(context)
    assert found["maskstream_person_seconds_total", key] == pytest.approx(1.0)
    assert found["maskstream_people_present", key] == 1
    assert found["maskstream_events_total", key] == 1
    assert found["maskstream_events_open", (("camera", "a"),)] == 1
    LiveEvents(fed.view).take([replace(started, sequence=2, phase=Phase.END, cause="gone")])
    fed.state(SourceState.OFFLINE, SourceState.CONNECTING)
    found = samples(context)
    assert found["maskstream_people_present", key] == 0
    assert found["maskstream_events_open", (("camera", "a"),)] == 0


def test_receivers_and_disks_have_metrics(context: WebContext, tmp_path: Path) -> None:
    context = replace(
        context,
        deliveries=lambda: [DeliveryStatus("mqtt desk", 3, 42.0, 1, "refused")],
        folders=(str(tmp_path), str(tmp_path / "missing")),
    )
    found = samples(context)
    assert found["maskstream_delivery_waiting_records", (("receiver", "mqtt desk"),)] == 3
    assert found["maskstream_delivery_oldest_seconds", (("receiver", "mqtt desk"),)] == 42
    assert found["maskstream_delivery_lost_records_total", (("receiver", "mqtt desk"),)] == 1
    assert [name for name, _ in found].count("maskstream_disk_free_bytes") == 1
    assert found["maskstream_store_writable", ()] == 1


def test_requests_and_logins_have_metrics_for_those_who_may(tmp_path: Path) -> None:
    with running_site(tmp_path, {"metrics_networks": []}) as site:
        assert site.client().get("/metrics").status_code == 401
        assert site.client("ward").get("/metrics").status_code == 403
        site.client().post("/api/v1/session", json={"name": "viewer", "password": "wrong"})
        site.client().get("/no/such/page/4711")
        answer = site.program().get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'maskstream_logins_total{outcome="failure"} 1.0' in answer.text
    assert 'maskstream_http_requests_total{method="GET",route="/metrics",status="401"} 1.0' in answer.text
    assert "4711" not in answer.text
    with running_site(tmp_path / "open", {"metrics_networks": ["127.0.0.0/8"]}) as site:
        assert site.client().get("/metrics").status_code == 200


def test_the_program_is_alive_while_its_threads_advance(context: WebContext) -> None:
    """It is ready when the models have analysed a frame, and also where no camera sends any."""
    assert (dead(context), unready(context)) == ("", "")
    release = threading.Event()

    class Slow(GivenDetector):
        def detect(self, images_bgr: Any) -> Any:
            release.wait(60)
            return super().detect(images_bgr)

    view, clock = context.live, ManualClock()
    assert view is not None
    settings, sink = config(), LiveSink(view)
    engine = Engine(Analyzer(Slow([]), GivenClassifier(), settings), paint, settings.stream, 1, states=SourceStates(clock))
    engine.add([Camera("a")], [SinkBinding(sink, None)])
    view.watch(engine)
    assert "inference thread has ended" in dead(context)
    thread = threading.Thread(target=engine.run, daemon=True)
    thread.start()
    wait_until(lambda: engine.totals()["a"].received > 0 and dead(context) == "")  # its threads start one after the other
    assert "not analysed one yet" in unready(context)
    release.set()
    wait_until(lambda: bool(view.snapshots().get("a") and view.snapshots()["a"].analysed))
    assert unready(context) == ""
    engine.stop()
    thread.join(60)
    clock.advance(11)
    assert "has not advanced for 1" in dead(context)


def test_a_blocked_output_is_found_by_healthz(tmp_path: Path) -> None:
    """The sink stands for a pipe that nobody reads."""
    release, blocked = threading.Event(), threading.Event()

    class Blocked:
        wants_every_frame = False

        def write(self, output: Output) -> None:
            blocked.set()
            release.wait(60)

        def source_ended(self, source_id: str) -> None:
            pass

        def close(self) -> None:
            pass

    clock, settings = ManualClock(), config(max_staleness_s=1e9)
    view = LiveView(SourceSettings(settings), clock=clock)
    analyzer = Analyzer(GivenDetector([]), GivenClassifier(), settings)
    engine = Engine(analyzer, paint, settings.stream, 1, states=SourceStates(clock))
    engine.add([Camera("a")], [SinkBinding(Blocked(), None)])
    view.watch(engine)
    thread = threading.Thread(target=engine.run, daemon=True)
    thread.start()
    try:
        assert blocked.wait(60)
        with running_site(tmp_path, live=view) as site:
            assert site.client().get("/healthz").status_code == 200
            clock.advance(11)
            answer = site.client().get("/healthz")
            assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
            assert "an output may block it" in answer.json()["detail"]
            assert site.client().get("/readyz").status_code == 503
    finally:
        release.set()
        engine.stop()
        thread.join(60)


def expressions() -> list[tuple[str, str]]:
    """Return all expressions of the board and the rules, each with where it is."""
    found = [
        (rule["alert"], rule["expr"])
        for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
        for rule in group["rules"]
    ]
    board = json.loads(BOARD.read_text())
    found += [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel["targets"]]
    found += [(each["name"], each["query"]["query"]) for each in board["templating"]["list"] if each["type"] == "query"]
    return found


FUNCTIONS = {"abs", "count", "sum", "max", "rate", "increase", "histogram_quantile", "by", "or", "and", "vector", "label_values"}


def labels_of_metrics(context: WebContext) -> dict[str, set[str]]:
    """Return the labels of all metrics that /metrics has, also of those without a value now, by the names of their samples."""
    endings = {"counter": ["_total"], "summary": ["_count", "_sum"], "histogram": ["_bucket", "_count", "_sum"]}
    found: dict[str, set[str]] = {}
    for family in families(context):
        for ending in endings.get(family.type, [""]):
            more = {"le"} if ending == "_bucket" else set()
            found[family.name + ending] = {*getattr(family, "_labelnames", ()), *more, "instance"}
    return found


def families(context: WebContext) -> list[Metric]:
    """Return the metrics of a run and of a fleet."""
    of_fleet = replace(context, **fleet_context(fleet))
    return [family for each in (context, of_fleet) for family in registry_of(each).collect()]


@pytest.mark.parametrize(("where", "expression"), expressions())
def test_every_expression_names_metrics_and_labels_that_exist(context: WebContext, where: str, expression: str) -> None:
    labels = {"up": {"job", "instance"}, **labels_of_metrics(context)}
    grouped = [name.strip() for names in re.findall(r"by \(([^)]*)\)", expression) for name in names.split(",")]
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b\d\S*|by \([^)]*\)", "", expression)
    if bare.startswith("label_values"):
        bare, _, label = bare.strip(")").partition(", ")
        grouped.append(label)
    metrics = set(re.findall(r"[A-Za-z_]\w*", bare)) - FUNCTIONS
    assert metrics, where
    assert metrics <= labels.keys()
    for name, matchers in re.findall(r"(\w+)\{([^}]*)\}", expression):
        assert set(re.findall(r"(\w+)=", matchers)) <= labels[name]
    assert set(grouped) <= set().union(*(labels[name] for name in metrics))


def test_the_manual_has_all_metrics(context: WebContext) -> None:
    page = (ROOT / "docs" / "web.md").read_text()
    table = page.partition("## Metrics")[2].partition("## Faults")[0]
    for family in families(context):
        if family.name.startswith("maskstream_"):
            name = family.name.removeprefix("maskstream_") + ("_total" if family.type == "counter" else "")
            assert f"`{name}`" in table, name


def test_alert_rules_and_scrape_settings_are_complete() -> None:
    for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert rule["annotations"].keys() == {"summary", "description"}
    settings = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    assert settings["rule_files"] == ["alerts.yml"]
    assert settings["scrape_configs"][0]["metrics_path"] == "/metrics"


def test_a_frame_costs_the_thread_that_renders_little_without_viewers() -> None:
    fed = FedView()
    output = fed.frame()
    with promised(0.2):  # a thousand frames
        for _ in range(1000):
            fed.sink.write(output)
            fed.sink.attend()
    assert fed.painted == []
