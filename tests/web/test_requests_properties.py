"""Requests that nobody would write: each gets an answer of the documented kind, and none harms the next."""

import socket
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskstream.config.loading import load_config
from maskstream.store.roles import Role
from maskstream.web.camera_lists import CameraLists
from maskstream.web.routes import ROUTES
from tests.slowness import LONGEST_S
from tests.web.live import FedView
from tests.web.site import Site, running_site

KNOWN = [route.path.replace("{camera}", name) for route in ROUTES for name in ("ward", "{camera}")]
SEGMENTS = st.one_of(
    st.sampled_from(["api", "v1", "cameras", "events", "static", "..", "%2e%2e", "%2f", "%00", "%ff", "%", "{camera}", "*", ""]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/?#"), max_size=20),
)
PATHS = st.one_of(st.sampled_from(KNOWN), st.lists(SEGMENTS, max_size=6).map(lambda segments: "/" + "/".join(segments)))
QUERIES = st.one_of(
    st.just(""),
    st.sampled_from(["?limit=-1", "?cursor=%00", "?cursor=" + "9" * 40, "?camera=%ff", "?width=320&rate=nan", "?x", "?=", "?&&"]),
    st.binary(max_size=12).map(lambda value: "?cursor=" + "".join(f"%{byte:02x}" for byte in value)),
)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "WS"])
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "Content-Type",
            "Origin",
            "Sec-Fetch-Site",
            "Cookie",
            "If-None-Match",
            "Range",
            "Accept",
            "Expect",
            "X-Forwarded-For",
            "Upgrade",
        ]
    ),
    st.one_of(
        st.sampled_from(
            ["application/json", "null", "same-origin", "100-continue", "websocket", "bytes=0-", "session=", "*", "W/*"]
        ),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30).map(str.strip),
    ),
    max_size=4,
)
BODIES = st.one_of(
    st.just(b""),
    st.binary(max_size=40),
    st.sampled_from(
        [
            b"{}",
            b"[]",
            b"nul",
            b'{"name": 1}',
            b'{"name": "a", "password": "b"}',
            b'{"url": "file:///etc/passwd"}',
            b'{"url": "rtsp://127.0.0.1:1/", "if_match": null}',
            b'{"if_match": "x"}',
            b'{"zones": [{"name": "z", "polygon": [[0, 0]]}]}',
            b'{"kind": "settings", "text": "detector: {min_score: 2}"}',
            b"[" * 500,
        ]
    ),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    cameras = folder / "cameras.yaml"
    cameras.write_text("- {name: ward, url: 'rtsp://10.0.0.9/live'}\n- {name: lobby, url: 'rtsp://10.0.0.10/live'}\n")
    lists = CameraLists([str(cameras)], load_config())
    with running_site(folder / "store", live=FedView().view, cameras=lists) as site:
        yield site
    assert [entry.name for entry in lists.entries()] == ["ward", "lobby"]  # no request had the entity tag of an entry


@pytest.fixture(scope="module")
def token(site: Site) -> str:
    return site.store.tokens.add("fuzz", Role.ADMIN, None, None)


def answer_to(site: Site, request: bytes, *, is_all: bool = False) -> bytes:
    """Return all that the server answers; `is_all`: the client says that no more will come."""
    host, _, port = site.host.partition(":")
    with socket.create_connection((host, int(port)), timeout=LONGEST_S) as connection:
        connection.sendall(request)
        if is_all:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


@given(method=METHODS, path=PATHS, query=QUERIES, headers=HEADERS, body=BODIES, is_admin=st.booleans())
def test_every_request_gets_an_answer(
    site: Site,
    token: str,
    method: str,
    path: str,
    query: str,
    headers: dict[str, str],
    body: bytes,
    is_admin: bool,
) -> None:
    lines = [f"{method} {path}{query} HTTP/1.1", f"Host: {site.host}", "Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if is_admin:
        lines.append(f"Authorization: Bearer {token}")
    answer = answer_to(site, "\r\n".join([*lines, "", ""]).encode() + body)
    status = int(answer.split(b" ", 2)[1])
    assert status in {200, 204, 304, 400, 401, 403, 404, 405, 409, 412, 413, 415, 421, 422, 426, 428, 429, 503}, answer
    assert b"Traceback" not in answer
    assert b"root:" not in answer
    if status >= 400 and status != 400 and method != "HEAD":
        assert b"content-type: application/problem+json" in answer


@given(st.binary(max_size=200))
def test_bytes_that_are_no_request_harm_nothing(site: Site, garbage: bytes) -> None:
    answer_to(site, garbage, is_all=True)
    with closing(site.client()) as browser:
        assert browser.get("/").status_code == 200


def test_nothing_of_it_is_in_the_log(site: Site, said: list[str]) -> None:
    for request in (b"GET / HTTP/9.9\r\n\r\n", b"\0" * 100, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        answer_to(site, request, is_all=True)
    with httpx.Client(base_url=site.url, trust_env=False, verify=False) as browser:
        browser.post("/api/v1/session", content=b"\xff", headers={"content-type": "application/json", "origin": site.url})
    assert [line for line in said if not line.startswith("DEBUG")] == []
