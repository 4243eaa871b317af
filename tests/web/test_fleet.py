"""The dashboard of a fleet: its nodes, cameras without images, drains, metrics and checks."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from maskstream.config.loading import load_config
from maskstream.errors import StoreError
from maskstream.fleet.status import FleetStatus
from maskstream.store.roles import Role
from maskstream.store.store import Store
from maskstream.stream.states import SourceState, StateChange
from maskstream.web.context import WebContext
from maskstream.web.live_sink import LiveEvents
from maskstream.web.metrics import dead, unready
from tests.events.test_sink import event
from tests.fleet.statuses import fleet, node
from tests.slowness import LONGEST_S
from tests.web.live import watcher
from tests.web.site import Site, fleet_context, running_site

NODES = "/api/v1/nodes"


@dataclass
class Supervisor:
    """Keeps what a supervisor would return and get."""

    status: FleetStatus = field(default_factory=fleet)
    drains: list[tuple[str, bool]] = field(default_factory=list)
    is_full: bool = False

    def drain(self, name: str, is_on: bool) -> None:
        if self.is_full:
            raise StoreError("/srv/site/fleet.db: cannot be written: no space left on device")
        self.drains.append((name, is_on))


@pytest.fixture
def supervisor() -> Supervisor:
    return Supervisor()


@pytest.fixture
def site(tmp_path: Path, supervisor: Supervisor) -> Iterator[Site]:
    with running_site(tmp_path, **fleet_context(lambda: supervisor.status, supervisor.drain)) as running:
        yield running


def answered(answer: httpx.Response, status: int) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def test_nodes_cameras_and_moves_are_listed(site: Site) -> None:
    with closing(site.client("viewer")) as viewer:
        shown = answered(viewer.get(NODES), 200)
    assert (shown["site"], shown["generation"], shown["stale_records"]) == ("ward 7", 4, 7)
    assert [(each["node"], each["state"], each["is_draining"]) for each in shown["nodes"]] == [
        ("east", "up", False),
        ("south", "draining", True),
        ("west", "lost", False),
    ]
    west = shown["nodes"][2]
    assert (west["reason"], west["heard_s"], west["clock_offset_s"]) == ("no reply for 31 s", 31.0, -2.5)
    assert [(each["camera"], each["node"], each["state"]) for each in shown["cameras"]] == [
        ("entrance", "east", "online"),
        ("ward", "east", "offline"),
        ("stairs", "south", "online"),
        ("lobby", None, "unplaced"),
    ]
    assert [(each["camera"], each["from_node"], each["to_node"]) for each in shown["moves"]] == [
        ("lobby", "west", None),
        ("stairs", None, "south"),
    ]
    assert shown["cameras"][3]["since_utc"] is None
    assert shown["moves"][1]["at_utc"] == shown["cameras"][0]["since_utc"] == "2026-11-18T11:06:40.000+00:00"


def test_a_user_of_one_camera_learns_nothing_of_others(site: Site, supervisor: Supervisor) -> None:
    """Also not from the reasons of nodes, which may name cameras, and not by a drain, which moves them."""
    supervisor.status = replace(supervisor.status, nodes=(node("east", reason="lobby: the weights are missing"),))
    with closing(site.client("ward")) as limited:
        shown = answered(limited.get(NODES), 200)
        cameras = answered(limited.get("/api/v1/cameras"), 200)["cameras"]
        answered(limited.get("/api/v1/cameras/lobby"), 403)
    assert [each["camera"] for each in shown["cameras"]] == ["ward"]
    assert cameras == [{**each, "last_outage": None} for each in shown["cameras"]]
    assert shown["moves"] == []
    assert "lobby" not in json.dumps(shown)
    program = site.program(Role.ADMIN, ("ward",))
    assert "moves all cameras" in answered(program.post(f"{NODES}/east/drain"), 403)["detail"]
    assert supervisor.drains == []


def test_an_administrator_drains_a_node_and_the_audit_knows(site: Site, supervisor: Supervisor) -> None:
    admin = site.client("admin")
    answered(admin.post(f"{NODES}/east/drain"), 204)
    answered(admin.post(f"{NODES}/east/drain"), 204)
    answered(admin.delete(f"{NODES}/south/drain"), 204)
    assert supervisor.drains == [("east", True), ("east", True), ("south", False)]
    answered(admin.post(f"{NODES}/north/drain"), 404)
    supervisor.status = replace(supervisor.status, drain=("gone",))  # a node that is not heard of any more
    answered(admin.delete(f"{NODES}/gone/drain"), 204)
    entries = answered(admin.get("/api/v1/audit"), 200)["entries"]
    assert [(each["who"], each["what"], each["detail"]) for each in entries[:4]] == [
        ("admin", "node.undrain", "gone"),
        ("admin", "node.undrain", "south"),
        ("admin", "node.drain", "east"),
        ("admin", "node.drain", "east"),
    ]


def test_a_drain_that_cannot_be_written_is_told_and_not_audited(site: Site, supervisor: Supervisor) -> None:
    admin, supervisor.is_full = site.client("admin"), True
    assert "no space left" in answered(admin.post(f"{NODES}/east/drain"), 503)["detail"]
    assert answered(admin.get("/api/v1/audit"), 200)["entries"][0]["what"] == "login"


def test_a_name_of_a_node_may_have_a_slash(site: Site, supervisor: Supervisor) -> None:
    supervisor.status = replace(supervisor.status, nodes=(node("a/b ä"),))
    answered(site.client("admin").post(f"{NODES}/a%2Fb%20%C3%A4/drain"), 204)
    assert supervisor.drains == [("a/b ä", True)]


def test_without_a_fleet_there_are_no_nodes(tmp_path: Path) -> None:
    with running_site(tmp_path) as site:
        admin = site.client("admin")
        for answer in (admin.get(NODES), admin.post(f"{NODES}/east/drain"), admin.delete(f"{NODES}/east/drain")):
            assert "maskstream fleet" in answered(answer, 404)["detail"]
        assert answered(admin.get("/api/v1/session"), 200)["fleet"] is False
        assert "maskstream_node_up" not in site.program().get("/metrics").text


def test_images_stay_on_the_nodes_and_cameras_in_the_site_file(site: Site) -> None:
    admin = site.client("admin")
    for path in ("latest.jpg", "mjpeg"):
        assert "stay on its node" in answered(admin.get(f"/api/v1/cameras/ward/{path}"), 404)["detail"]
        assert "no such camera" in answered(admin.get(f"/api/v1/cameras/cellar/{path}"), 404)["detail"]
    listed = answered(admin.get("/api/v1/cameras"), 200)
    assert "site file" in listed["obstacle"]
    assert [(each["camera"], each["editable"], each["source"]) for each in listed["cameras"]][:2] == [
        ("entrance", False, None),
        ("ward", False, None),
    ]
    shown = answered(admin.get("/api/v1/cameras/ward"), 200)
    assert (shown["node"], shown["editable"], shown["cause"]) == ("east", False, "no route to host")
    assert "site file" in shown["obstacle"]
    assert "site file" in answered(admin.put("/api/v1/cameras/ward", json={"zones": []}), 409)["detail"]
    assert "site file" in answered(admin.request("DELETE", "/api/v1/cameras/ward", json={}), 409)["detail"]
    assert "site file" in answered(admin.post("/api/v1/cameras/probe", json={"camera": "ward"}), 409)["detail"]
    assert answered(admin.get("/api/v1/session"), 200)["fleet"] is True


def test_the_last_outage_is_that_of_the_store(site: Site) -> None:
    began = StateChange("ward", SourceState.OFFLINE, None, "no route to host", 0.0, datetime(2026, 11, 27, 9, tzinfo=UTC))
    site.store.states.put(began)
    assert site.store.flush(LONGEST_S)
    with closing(site.client("viewer")) as viewer:
        listed = answered(viewer.get("/api/v1/cameras"), 200)["cameras"]
    outages = {each["camera"]: each["last_outage"] for each in listed}
    assert outages["ward"]["cause"] == "no route to host"
    assert outages["entrance"] is None


def test_the_live_connection_sends_states_and_events(site: Site, supervisor: Supervisor) -> None:
    live = site.context.live
    assert live is not None
    with closing(site.client("ward")) as limited, watcher(site, limited) as watching:
        watching.watch("ward", "lobby")
        assert [each["camera"] for each in watching.text("cameras")["cameras"]] == ["ward"]
        LiveEvents(live).take([replace(event(), source_id=name) for name in ("lobby", "ward")])
        assert watching.text("event")["event"]["source"] == "ward"
        [west_only] = [each for each in supervisor.status.cameras if each.name == "ward"]
        supervisor.status = replace(supervisor.status, cameras=(replace(west_only, node="west"),))
        live.clients.changed()
        while watching.text("cameras")["cameras"][0]["node"] != "west":
            pass


def test_the_metrics_of_a_fleet(site: Site) -> None:
    live = site.context.live
    assert live is not None
    LiveEvents(live).take([replace(event(), source_id="ward")])
    text = site.program().get("/metrics").text
    found = {
        (sample.name.removeprefix("maskstream_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert {name: found["node_up", name] for name in ("east", "south", "west")} == {"east": 1, "south": 1, "west": 0}
    assert found["node_draining", "south"] == 1
    assert (found["node_capacity_fps", "east"], found["node_used_fps", "east"], found["node_cameras", "east"]) == (40, 10, 2)
    assert (found["node_waiting_records", "east"], found["node_clock_offset_seconds", "west"]) == (12, -2.5)
    assert found["camera_epoch", "stairs", "south"] == 9
    assert not any(key[:2] == ("camera_epoch", "lobby") for key in found)
    assert (found["camera_placed", "lobby"], found["camera_placed", "ward"]) == (0, 1)
    assert (found["camera_state", "ward", "offline"], found["camera_state", "ward", "online"]) == (1, 0)
    assert not any(value for key, value in found.items() if key[:2] == ("camera_state", "lobby"))
    assert found["camera_dropped_ratio", "stairs"] == 0.36
    assert (found["fleet_stale_records_total",], found["site_generation",]) == (7, 4)
    assert found["events_open", "ward"] == 1
    assert text.count("# TYPE maskstream_camera_state ") == 1


def test_a_supervisor_is_ready_while_its_loop_advances(tmp_path: Path, supervisor: Supervisor) -> None:
    """Also where every node is lost: a node starts again without it, and cameras may be offline."""
    supervisor.status = replace(supervisor.status, nodes=(node("west", state="lost"),))
    with running_site(tmp_path, **fleet_context(lambda: supervisor.status)) as site:
        client = site.client()
        assert [client.get(path).status_code for path in ("/healthz", "/readyz")] == [200, 200]
        supervisor.status = replace(supervisor.status, turn_age_s=11.0)
        for path in ("/healthz", "/readyz"):
            assert "has not advanced for 11 s" in answered(client.get(path), 503)["detail"]
        supervisor.status = replace(supervisor.status, turn_age_s=0.3)
        assert (dead(site.context), unready(site.context)) == ("", "")


def test_a_fleet_without_what_its_pages_need_is_refused(tmp_path: Path) -> None:
    with Store(tmp_path) as store, pytest.raises(ValueError, match="needs live and drain"):
        WebContext(store, load_config(), fleet=fleet)
