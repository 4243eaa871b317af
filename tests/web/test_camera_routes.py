"""Cameras over HTTP: statuses, one line of advice, and no password in any answer."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pytest

from maskstream.config.loading import Layer, load_config
from maskstream.config.schema import Config
from maskstream.web.camera_lists import CameraLists
from maskstream.web.shown_settings import shown_settings
from tests.servers import http_server, mjpeg
from tests.web.site import Site, running_site

SECRETS = ("sesame77", "hunter22", "viewer1")
SQUARE = [[0, 0], [1, 0], [1, 1], [0, 1]]
TEXT = """\
- name: ward    # bed 1
  url: rtsp://${CAMERA_USER}:${CAMERA_PASSWORD}@192.0.2.10/1

- name: gate
  url: "rtsp://admin:sesame77@192.0.2.11/1"
  detector: {min_score: 0.8}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cameras")


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[Site]:
    with running_site(
        folder / "store", cameras=CameraLists([str(folder / "cameras.yaml"), "rtsp://u:sesame77@h/1"], Config())
    ) as site:
        yield site


@pytest.fixture(scope="module")
def clients(site: Site) -> Iterator[dict[str, httpx.Client]]:
    """Yield a browser of each user."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(closing(site.client(name))) for name in ("admin", "viewer", "ward", "display")}


@pytest.fixture
def admin(clients: dict[str, httpx.Client]) -> httpx.Client:
    return clients["admin"]


@pytest.fixture(autouse=True)
def path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAMERA_USER", "viewer1")
    monkeypatch.setenv("CAMERA_PASSWORD", "hunter22")
    path = folder / "cameras.yaml"
    path.unlink(missing_ok=True)
    path.write_text(TEXT)
    os.utime(path, (path.stat().st_mtime - 60,) * 2)
    return path


def answered(answer: httpx.Response, status: int) -> Any:
    """Return the JSON of an answer with this status and without secrets; of a problem, its one line."""
    assert answer.status_code == status, answer.text
    assert [secret for secret in SECRETS if secret.encode() in answer.content] == []
    if status < 400:
        return answer.json() if answer.content else None
    problem = answer.json()
    assert (answer.headers["content-type"], problem["status"]) == ("application/problem+json", status)
    assert "\n" not in problem["detail"]
    return problem["detail"]


def etag(client: httpx.Client, name: str) -> str:
    found: str = answered(client.get(f"/api/v1/cameras/{name}"), 200)["etag"]
    return found


def remove(client: httpx.Client, name: str, **body: Any) -> httpx.Response:
    return client.request("DELETE", f"/api/v1/cameras/{name}", json=body)


def test_an_administrator_sees_the_entry_and_changes_it(admin: httpx.Client, path: Path, site: Site) -> None:
    ward = answered(admin.get("/api/v1/cameras/ward"), 200)
    assert ward["url"] == "rtsp://${CAMERA_USER}:${CAMERA_PASSWORD}@192.0.2.10/1"
    assert (ward["editable"], ward["obstacle"], ward["zones"], ward["settings"]) == (True, "", [], {})
    body = {"url": None, "zones": [{"name": "bed", "polygon": SQUARE}], "settings": None, "if_match": ward["etag"]}
    changed = answered(admin.put("/api/v1/cameras/ward", json=body), 200)
    assert (changed["zones"], changed["etag"] != ward["etag"]) == (body["zones"], True)
    lines = "  zones:\n    bed: [[0, 0], [1, 0], [1, 1], [0, 1]]\n"
    assert path.read_text() == TEXT.replace("@192.0.2.10/1\n", f"@192.0.2.10/1\n{lines}")
    assert "already" not in answered(admin.put("/api/v1/cameras/ward", json=body), 412)
    newest = site.store.audit.page(None, 1).entries[0]
    assert (newest.who, newest.what, newest.detail) == ("admin", "camera.change", "ward: zones")


def test_the_audit_names_the_settings_that_change(admin: httpx.Client, site: Site) -> None:
    """An administrator may ask who lifted the anonymisation."""

    def put(**body: Any) -> str:
        answered(admin.put("/api/v1/cameras/gate", json={**body, "if_match": etag(admin, "gate")}), 200)
        return site.store.audit.page(None, 1).entries[0].detail

    assert put(settings={"privacy": {"blur": "all"}, "detector": {"min_score": 0.8}}) == "gate: privacy.blur is all, was unset"
    assert (
        put(settings={"privacy": {"blur": "none"}}) == "gate: detector.min_score is unset, was 0.8; privacy.blur is none, was all"
    )
    assert put(url="rtsp://admin:hunter22@192.0.2.11/1") == "gate: url"  # only the password
    assert put() == "gate: nothing"


def test_a_camera_is_added_and_removed(admin: httpx.Client, path: Path, site: Site) -> None:
    added = admin.put("/api/v1/cameras/stairs%20%C3%A4", json={"url": "rtsp://a:${CAMERA_PASSWORD}@192.0.2.12/1"})
    assert answered(added, 200)["url"] == "rtsp://***@192.0.2.12/1"
    assert path.read_text() == f"{TEXT}\n- name: stairs ä\n  url: rtsp://a:${{CAMERA_PASSWORD}}@192.0.2.12/1\n"
    assert site.store.audit.page(None, 1).entries[0].detail == "stairs ä: added"
    assert answered(remove(admin, "stairs%20%C3%A4", if_match=etag(admin, "stairs ä")), 204) is None
    assert path.read_text() == TEXT
    assert site.store.audit.page(None, 1).entries[0].what == "camera.remove"


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("..%2Fx", 422),
        ("%2e%2e", 422),
        ("a%00b", 422),
        ("a%1b%5b31m", 422),
        ("a" * 3000, 422),
        ("%ff", 400),
        ("", 404),
    ],
)
def test_names_with_tricks_are_refused(admin: httpx.Client, path: Path, site: Site, name: str, status: int) -> None:
    request = admin.build_request("PUT", "/api/v1/cameras/x", json={"url": "rtsp://192.0.2.1/1"})
    request.url = request.url.copy_with(raw_path=f"/api/v1/cameras/{name}".encode())
    assert len(answered(admin.send(request), status)) < 300
    request = admin.build_request("GET", "/api/v1/cameras/x")
    request.url = request.url.copy_with(raw_path=f"/api/v1/cameras/{name}".encode())
    answered(admin.send(request), 404 if status == 422 else status)
    assert (path.read_text(), [each.name for each in path.parent.iterdir() if each.is_file()]) == (TEXT, [path.name])


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"zones": [{"name": "a", "polygon": [[0, 0], [2, 0], [1, 1]]}]}, 422, "zones.a: 2 is not allowed"),
        ({"zones": [{"name": "a", "polygon": SQUARE}] * 2}, 422, "a is given twice"),
        ({"zones": [{"name": "a"}]}, 422, "zones.0.polygon"),
        ({"zones": [{"name": "a", "polygon": [[0, 0, 0]]}]}, 422, "zones.0.polygon.0"),
        ({"zones": [{"name": "a", "polygon": [["0", 0]]}]}, 422, "zones.0.polygon.0.0"),
        ({"zones": {"a": SQUARE}}, 422, "zones"),
        ({"url": "rtsp//h"}, 422, "neither a URL nor in the folder"),
        ({"url": "rtsp://u:${HOME}@h/1"}, 422, "'HOME' may not be used here"),
        ({"url": 7}, 422, "url"),
        ({"url": "rtsp://x:sesame77@[::1"}, 422, "names no host"),
        ({"settings": {"detector": {"min_score": "high"}}}, 422, "detector.min_score: 'high' is not allowed"),
        ({"settings": {"network": {"ca_file": "/nowhere/ca.pem"}, "url": "x"}}, 422, "url is not a setting"),
        ({"settings": []}, 422, "settings"),
        ({"colour": "red"}, 422, "colour"),
        ([], 422, "body"),
    ],
)
def test_wrong_bodies_write_nothing(admin: httpx.Client, path: Path, body: Any, status: int, says: str) -> None:
    if isinstance(body, dict):
        body = {**body, "if_match": etag(admin, "ward")}
    assert says in answered(admin.put("/api/v1/cameras/ward", json=body), status)
    assert path.read_text() == TEXT


def test_large_and_broken_bodies_write_nothing(admin: httpx.Client, path: Path) -> None:
    for content, status in ((b"{" * 70_000, 413), (b"[" * 5000, 400), (b'{"url": ', 400), (b"\xff", 400)):
        answered(admin.put("/api/v1/cameras/ward", content=content, headers={"content-type": "application/json"}), status)
    assert path.read_text() == TEXT


def test_unknown_cameras(admin: httpx.Client, path: Path) -> None:
    assert "no such camera" in answered(admin.get("/api/v1/cameras/nobody"), 404)
    answered(remove(admin, "nobody", if_match="x"), 404)
    assert "removed meanwhile" in answered(admin.put("/api/v1/cameras/nobody", json={"zones": [], "if_match": "x"}), 412)
    assert "url is missing" in answered(admin.put("/api/v1/cameras/nobody", json={}), 422)
    assert "exists already" in answered(admin.put("/api/v1/cameras/ward", json={"url": "rtsp://h/1"}), 412)
    answered(remove(admin, "ward"), 412)
    assert path.read_text() == TEXT


def test_a_write_protected_list(admin: httpx.Client, path: Path) -> None:
    path.chmod(0o444)
    ward = answered(admin.get("/api/v1/cameras/ward"), 200)
    assert (ward["editable"], "is write-protected" in ward["obstacle"]) == (False, True)
    assert "is write-protected" in answered(admin.get("/api/v1/cameras"), 200)["obstacle"]
    assert "is write-protected" in answered(admin.put("/api/v1/cameras/new", json={"url": "rtsp://h/1"}), 409)
    assert "is write-protected" in answered(admin.put("/api/v1/cameras/ward", json={"zones": [], "if_match": ward["etag"]}), 409)
    assert "is write-protected" in answered(remove(admin, "ward", if_match=ward["etag"]), 409)
    assert path.read_text() == TEXT


def test_a_list_that_an_editor_has_damaged(admin: httpx.Client, path: Path) -> None:
    before = etag(admin, "ward")
    path.write_text(TEXT + "- name: [")
    os.utime(path, (0, 0))
    assert "no such camera" in answered(admin.get("/api/v1/cameras/ward"), 404)
    assert "correct the list" in answered(admin.put("/api/v1/cameras/ward", json={"zones": [], "if_match": before}), 409)
    assert "not valid YAML" in answered(admin.put("/api/v1/cameras/new", json={"url": "rtsp://h/1"}), 409)
    assert path.read_text() == TEXT + "- name: ["


def test_other_roles_see_no_address_and_change_nothing(clients: dict[str, httpx.Client], path: Path) -> None:
    for name, statuses in {"viewer": (404, 403, 403), "ward": (404, 403, 403), "display": (403, 403, 403)}.items():
        client = clients[name]
        answers = [
            client.get("/api/v1/cameras/ward"),
            client.put("/api/v1/cameras/ward", json={"zones": []}),
            remove(client, "ward"),
        ]
        for answer, status in zip(answers, statuses, strict=True):  # no camera is live here
            assert "192.0.2" not in answered(answer, status)
        for method, place in (("POST", "cameras/probe"), ("GET", "config"), ("POST", "config/validate"), ("GET", "audit")):
            answered(client.request(method, f"/api/v1/{place}", json={} if method == "POST" else None), 403)
    answered(clients["ward"].get("/api/v1/cameras/gate"), 403)
    assert path.read_text() == TEXT


def test_a_probe_reads_one_frame(admin: httpx.Client, folder: Path) -> None:
    with http_server({"/live": mjpeg()}) as address:
        url = f"{address.replace('://', '://me:sesame77@')}/live"
        found = answered(admin.post("/api/v1/cameras/probe", json={"url": url}), 200)
    assert (found["ok"], found["width"], found["height"], found["seconds"] < 5) == (True, 160, 120, True)
    for body, status, says in (
        ({"camera": "nobody"}, 404, "no such camera"),
        ({}, 422, "give one of them"),
        ({"camera": "ward", "url": "0"}, 422, "give one of them"),
        ({"url": "/etc/passwd"}, 422, "nor in the folder"),
        ({"url": "-"}, 422, "cannot be a camera"),
    ):
        assert says in answered(admin.post("/api/v1/cameras/probe", json=body), status)
    refused = answered(admin.post("/api/v1/cameras/probe", json={"url": "rtsp://me:sesame77@127.0.0.1:9/1"}), 200)
    assert (refused["ok"], "rtsp://***@127.0.0.1:9/1" in refused["detail"]) == (False, True)


def test_the_system_without_secrets(site: Site, admin: httpx.Client, clients: dict[str, httpx.Client]) -> None:
    system = answered(clients["viewer"].get("/api/v1/system"), 200)
    assert (system["store"]["writable"], system["store"]["path"]) == (True, str(site.store.path))
    assert system["disks"][0]["folder"] == str(site.store.path.parent)
    assert 0 < system["disks"][0]["free_bytes"] <= system["disks"][0]["total_bytes"]
    assert {"maskstream", "Python", "numpy"} <= system["versions"].keys()
    assert system["uptime_s"] >= 0
    assert system["deliveries"] == []
    settings = answered(admin.get("/api/v1/config"), 200)["settings"]
    assert settings["web"]["listen"] == "127.0.0.1:0"
    assert settings["detector"]["min_score"] == Config().detector.min_score


def test_settings_are_checked_with_the_message_of_the_command_line(admin: httpx.Client) -> None:
    def check(text: str, kind: str = "config") -> tuple[bool, str]:
        answer = answered(admin.post("/api/v1/config/validate", json={"kind": kind, "text": text}), 200)
        return answer["ok"], answer["detail"]

    assert check("detector: {min_score: 0.5}") == (True, "")
    assert check("") == (True, "")
    assert check(TEXT, "cameras") == (True, "")
    for text, kind, says in (
        ("detector: {min_scor: 0.5}", "config", "unknown key detector.min_scor; did you mean min_score?"),
        ("a: [", "config", "not valid YAML"),
        ("- a", "config", "expected keys"),
        ("a: &a [x]\nb: *a", "config", "aliases"),
        ("events: {webhooks: [{secret: sesame77}]}", "config", "events.webhooks"),
        (TEXT + TEXT, "cameras", "given twice"),
        ("- name: a\n  url: rtsp://a:sesame77@h/1\n  zone: {}", "cameras", "camera 1 (a): unknown key zone; did you mean zones?"),
    ):
        ok, detail = check(text, kind)
        assert (ok, says in detail) == (False, True), detail


def test_the_audit_in_pages(admin: httpx.Client, site: Site) -> None:
    for number in range(3):
        site.store.audit.add("someone", "test", str(number), "127.0.0.1")
    first = answered(admin.get("/api/v1/audit?limit=2"), 200)
    second = answered(admin.get("/api/v1/audit", params={"limit": 2, "cursor": first["next"]}), 200)
    assert [entry["detail"] for entry in (*first["entries"], *second["entries"])][:3] == ["2", "1", "0"]
    assert first["entries"][0].keys() == {"at_utc", "who", "what", "detail", "address"}
    for query in ("limit=0", "limit=x", "cursor=%27%20or%201", "colour=red"):
        answered(admin.get(f"/api/v1/audit?{query}"), 422)


def test_in_maskstream_dashboard_nothing_can_be_edited(tmp_path: Path) -> None:
    with running_site(tmp_path) as site, closing(site.client("admin")) as admin:
        assert answered(admin.get("/api/v1/cameras"), 200)["cameras"] == []
        assert "dashboard of their run" in answered(admin.put("/api/v1/cameras/a", json={"url": "0"}), 409)
        answered(admin.get("/api/v1/cameras/a"), 404)
        answered(admin.post("/api/v1/cameras/probe", json={"url": "0"}), 409)


def test_shown_settings_hide_every_secret() -> None:
    values = {
        "events": {
            "mqtt": "mqtts://watch:sesame77@broker:8883",
            "webhooks": [
                {"url": "https://hooks.example/T00/sesame77", "secret": "hunter22"},
                {"url": "https://${HOST}/x", "secret": "${WEBHOOK_SECRET}", "name": "desk"},
            ],
        },
        "web": {"proxy_secret": "viewer1"},
    }
    shown = shown_settings(load_config(None, [Layer("test", values)]))
    assert [secret for secret in SECRETS if secret in json.dumps(shown)] == []
    assert shown["events"]["mqtt"] == "mqtts://***@broker:8883"
    assert [(hook["url"], hook["secret"]) for hook in shown["events"]["webhooks"]] == [
        ("https://hooks.example/***", "***"),
        ("https://${HOST}/***", "${WEBHOOK_SECRET}"),
    ]
    assert shown["web"]["proxy_secret"] == "***"


def test_of_two_requests_at_the_same_time_one_wins(site: Site, clients: dict[str, httpx.Client], path: Path) -> None:
    """Meanwhile each reader of the file finds a complete list."""
    contents: set[str] = set()
    done = Event()

    def read() -> None:
        while not done.is_set():
            contents.add(path.read_text())

    reader = Thread(target=read)
    reader.start()
    with closing(site.client("admin")) as other, ThreadPoolExecutor(2) as threads:
        try:
            for turn in range(4):
                body = {"zones": [{"name": f"zone {turn}", "polygon": SQUARE}], "if_match": etag(other, "ward")}
                requests = [threads.submit(each.put, "/api/v1/cameras/ward", json=body) for each in (other, clients["admin"])]
                assert sorted(request.result().status_code for request in requests) == [200, 412]
        finally:
            done.set()
            reader.join()
    lines = "  zones:\n    zone {}: [[0, 0], [1, 0], [1, 1], [0, 1]]\n"
    expected = [TEXT.replace("@192.0.2.10/1\n", f"@192.0.2.10/1\n{lines.format(turn)}") for turn in range(4)]
    assert contents <= {TEXT, *expected}
    assert path.read_text() == expected[-1]
