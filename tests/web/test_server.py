"""The thread of the dashboard: it begins and ends in bounded time, whatever its clients do, and changes no signal handler."""

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

import maskstream.web.server
from maskstream.store.roles import Role
from maskstream.web.requests import access_of
from maskstream.web.route import Route
from maskstream.web.routes import ROUTES
from tests.slowness import LONGEST_S, promised
from tests.web.site import Site, running_site

CHUNK = bytes(1 << 20)


async def echo(websocket: WebSocket) -> None:
    """Answer what the client sends."""
    await websocket.accept()
    while True:
        await websocket.send_text(f"{access_of(websocket).name}: {await websocket.receive_text()}")


async def flood(websocket: WebSocket) -> None:
    """Send as much as the client takes."""
    await websocket.accept()
    while True:
        await websocket.send_bytes(CHUNK)


async def endless(_: Request) -> Response:
    """Send an answer without end."""

    async def parts():  # type: ignore[no-untyped-def]
        while True:
            yield CHUNK

    return StreamingResponse(parts())


async def fail(websocket: WebSocket) -> None:
    """Fail after the handshake."""
    await websocket.accept()
    raise RuntimeError("an internal error")


TESTED = (
    *ROUTES,
    Route("WS", "/echo", Role.VIEWER, echo, "Echo"),
    Route("WS", "/flood", Role.VIEWER, flood, "Flood"),
    Route("WS", "/fail", Role.VIEWER, fail, "Fail"),
    Route("GET", "/endless", Role.VIEWER, endless, "Endless", answer="application/octet-stream"),
)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(maskstream.web.server, "ROUTES", TESTED)
    with running_site(tmp_path / "store") as site:
        yield site


@pytest.fixture
def token(site: Site) -> str:
    return site.store.tokens.add("watcher", Role.VIEWER, None, None)


@contextmanager
def opened(site: Site, path: str, **headers: str) -> Iterator[ClientConnection]:
    """Open a WebSocket, and close it at once at the end, whatever it waits for."""
    host, _, port = site.host.partition(":")
    with ExitStack() as closing:
        plain = closing.enter_context(socket.create_connection((host, int(port))))
        closing.enter_context(suppress(ConnectionClosed))
        url = f"ws://{site.host}{path}"
        yield closing.enter_context(connect(url, sock=plain, additional_headers=headers, proxy=None, close_timeout=0))


def test_it_ends_in_bounded_time_with_clients_of_every_kind(site: Site, token: str) -> None:
    headers = {"authorization": f"Bearer {token}"}
    host, _, port = site.host.partition(":")
    with ExitStack() as clients:
        quiet = clients.enter_context(opened(site, "/echo", **headers))
        clients.enter_context(opened(site, "/flood", **headers))  # which never reads
        for begun in (
            b"",
            b"GET / HT",
            b"GET /endless HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " + token.encode() + b"\r\n\r\n",
        ):
            half = clients.enter_context(socket.create_connection((host, int(port))))
            half.sendall(begun)
        browser = clients.enter_context(site.program())  # keeps its connection open
        assert browser.get("/").status_code == 200
        with promised(3.0):
            site.server.stop()
        assert not site.server.is_running
        with pytest.raises(ConnectionClosed):
            quiet.recv(timeout=LONGEST_S)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))
    with socket.create_server((host, int(port))):  # the port is free
        pass


def test_stopping_twice_or_before_the_start_does_no_harm(site: Site) -> None:
    site.server.stop()
    site.server.stop()


def test_signal_handlers_are_left_alone(site: Site) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    httpx.get(site.url, trust_env=False, verify=False, timeout=LONGEST_S)
    assert [signal.getsignal(number) for number in numbers] == before
    site.server.stop()
    assert [signal.getsignal(number) for number in numbers] == before


def test_no_thread_is_left(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with running_site(tmp_path / "store") as site:
        answer = httpx.get(f"{site.url}/api/v1/session", trust_env=False, verify=False, timeout=LONGEST_S)
        assert answer.status_code == 401
    for thread in set(threading.enumerate()) - before:
        thread.join(LONGEST_S)
        assert not thread.is_alive(), thread


def test_the_log_names_the_address_and_the_way_to_the_first_user(tmp_path: Path, said: list[str]) -> None:
    with running_site(tmp_path / "store") as site:
        assert said == [f"INFO dashboard: {site.url}\n"]
        for user in site.store.users.list():
            site.store.users.remove(user.name)
        site.server.stop()
        said.clear()
    with running_site(tmp_path / "empty", users=False):
        assert said[1:] == [
            "WARNING no user can log in yet; add the first administrator with: maskstream user add NAME --role admin\n"
        ]


def test_a_websocket_ends_with_its_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maskstream.web.server, "ROUTES", TESTED)
    monkeypatch.setattr(maskstream.web.server, "RECHECK_S", 0.05)
    with running_site(tmp_path / "store") as site:
        browser = site.client("admin")
        cookie = f"session={browser.cookies['session']}"
        with opened(site, "/echo", cookie=cookie, origin=site.url) as websocket:
            websocket.send("here")
            assert websocket.recv(timeout=LONGEST_S) == "admin: here"
            assert browser.delete("/api/v1/session").status_code == 204
            with pytest.raises(ConnectionClosed) as closed:
                websocket.recv(timeout=LONGEST_S)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4401, "the session has ended")
        browser.close()


def test_an_error_after_the_handshake_closes_the_websocket(site: Site, token: str, said: list[str]) -> None:
    with opened(site, "/fail", authorization=f"Bearer {token}") as websocket, pytest.raises(ConnectionClosed) as closed:
        websocket.recv(timeout=LONGEST_S)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1011
    assert any("an internal error" in line for line in said)


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff" * 64,  # reserved bits and an unknown opcode
        b"\x81\x05hello",  # not masked
        b"\x81\xff" + (0x10001).to_bytes(8, "big") + bytes(4) + b"x" * 0x10001,  # larger than allowed
        b"\x82\xff" + b"\x7f" + b"\xff" * 7 + bytes(4),  # states a size of 8 EiB
        b"\x89\xfe\x00\xff" + bytes(4) + b"x" * 255,  # a ping that is too large
        b"\x81\x82" + bytes(4) + b"\xff\xfe",  # text that is not UTF-8
        b"\x80\x80" + bytes(4),  # a continuation of nothing
    ],
    ids=["reserved", "unmasked", "large", "huge", "ping", "not text", "continuation"],
)
def test_a_malformed_frame_ends_its_connection_alone(site: Site, token: str, frame: bytes, said: list[str]) -> None:
    host, _, port = site.host.partition(":")
    with socket.create_connection((host, int(port)), timeout=LONGEST_S) as plain:
        lines = [
            "GET /echo HTTP/1.1",
            f"Host: {site.host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            f"Authorization: Bearer {token}",
        ]
        plain.sendall("\r\n".join([*lines, "", ""]).encode())
        assert plain.recv(65536).startswith(b"HTTP/1.1 101 ")
        plain.sendall(frame)
        with suppress(ConnectionResetError):
            while plain.recv(65536):
                pass
    with opened(site, "/echo", authorization=f"Bearer {token}") as websocket:
        websocket.send("still here")
        assert websocket.recv(timeout=LONGEST_S) == "watcher: still here"
    assert [line for line in said if not line.startswith(("DEBUG", "INFO dashboard"))] == []
