"""What clients must not be able to do: large bodies, tricks in paths, broken requests, foreign headers of proxies."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from time import monotonic
from urllib.parse import quote

import httpx
import pytest

import maskstream.web.security
from maskstream.errors import StoreError
from maskstream.store.roles import Role
from maskstream.web.app import WebApp
from maskstream.web.http_protocol import PatientProtocol
from maskstream.web.limited_socket import LimitedSocket
from maskstream.web.routes import ROUTES
from maskstream.web.security import Hosts
from maskstream.web.static_files import static_files
from tests.slowness import LONGEST_S
from tests.web.site import PASSWORD, Site, running_site

LOGIN = "/api/v1/session"
SECRET = "a secret of the proxy"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site") / "store") as site:
        yield site


@pytest.fixture(scope="module")
def admin(site: Site) -> Iterator[httpx.Client]:
    with site.program(Role.ADMIN, name="admin") as program:
        yield program


def raw(site: Site, request: bytes) -> bytes:
    """Send bytes, and return all that comes back until the server closes."""
    host, _, port = site.host.partition(":")
    with socket.create_connection((host, int(port)), timeout=LONGEST_S) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


def head(method: str, path: str, site: Site, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {site.host}", f"Origin: {site.url}", *lines, "", ""]).encode(
        "latin-1"
    )


@pytest.mark.parametrize(
    "lines", [["Content-Length: 65537"], ["Content-Length: 99999999999999999999"], ["Transfer-Encoding: chunked"]], ids=str
)
def test_a_large_body_is_refused(site: Site, lines: list[str]) -> None:
    body = b"10000\r\n" + b" " * 0x10000 + b"\r\n1\r\n \r\n0\r\n\r\n" if "chunked" in lines[0] else b"{"
    answer = raw(site, head("POST", LOGIN, site, "Content-Type: application/json", "Connection: close", *lines) + body)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"the body is larger than 65536 bytes" in answer


def test_a_body_that_does_not_arrive_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maskstream.web.security, "BODY_WITHIN_S", 0.1)
    lines = ("Content-Type: application/json", "Content-Length: 100", "Connection: close")
    answer = raw(site, head("POST", LOGIN, site, *lines) + b"{")
    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"], ids=["nothing", "half a header"])
def test_a_connection_without_a_request_is_closed(site: Site, begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientProtocol, "headers_within_s", 0.1)
    with suppress(ConnectionResetError):  # the server does not wait for the rest
        assert raw(site, begun) == b""


def test_a_header_that_trickles_after_a_request_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientProtocol, "headers_within_s", 0.3)
    host, _, port = site.host.partition(":")
    with socket.create_connection((host, int(port)), timeout=0.05) as connection:
        connection.sendall(head("GET", "/", site))
        until_s = monotonic() + LONGEST_S
        try:
            while monotonic() < until_s:  # one byte after the other, which never makes a header
                connection.sendall(b"x")
                try:
                    if not connection.recv(65536):
                        break
                except TimeoutError:
                    continue
        except OSError:
            pass
        assert monotonic() < until_s


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50,  # TLS
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 100_000,
        b"GET /%ff%fe HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
    ],
    ids=["TLS", "cut", "no host", "two hosts", "large header", "not text"],
)
def test_a_broken_request_gets_400(site: Site, request_bytes: bytes) -> None:
    assert raw(site, request_bytes).startswith(b"HTTP/1.1 400 ")


TRICKS = [
    "/static/..%2f..%2fconfig%2floading.py",
    "/static/../app.py",
    "/static/%2e%2e/app.py",
    "/static/pages/..%2f..%2fapp.py",
    "/static//etc/passwd",
    "/static/%2fetc%2fpasswd",
    "/static/main.js%00.html",
    "/static/main.js/",
    "/static/MAIN.JS",
    "/static/..%5capp.py",
    "/static/__init__.py",
    "/static/pages",
    "//static/main.js",
    "/static/main.js;x",
]


@pytest.mark.parametrize("path", TRICKS)
def test_no_path_leads_out_of_the_static_files(site: Site, path: str) -> None:
    answer = raw(site, head("GET", path, site, "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"import" not in answer


@pytest.mark.parametrize(
    "name",
    [
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "a%00b",
        "a%0d%0aSet-Cookie:x=1",
        "%252e%252e",
        "a" * 3000,
        "%f0%9f%98%80",
        "%e2%80%ae",
        "'--",
    ],
)
@pytest.mark.parametrize(
    "route", [route for route in ROUTES if "{camera}" in route.path and route.method == "GET"], ids=lambda r: r.path
)
def test_tricks_in_names_of_cameras_are_names_that_do_not_exist(site: Site, name: str, route: object) -> None:
    token = site.store.tokens.add("tricks", Role.ADMIN, None, None)
    path = route.path.replace("{camera}", name)  # type: ignore[attr-defined]
    answer = raw(site, head("GET", path, site, f"Authorization: Bearer {token}", "Connection: close"))
    site.store.tokens.remove("tricks")
    status = answer.split(b" ", 2)[1]
    assert status in (b"404", b"503")  # 503: this site has no cameras at all
    assert b"\r\nSet-Cookie" not in answer.partition(b"\r\n\r\n")[0]
    assert len(answer) < 2000


def test_a_user_of_one_camera_sees_no_other_by_a_trick(site: Site) -> None:
    with closing(site.client("ward")) as browser:
        for name in ("lobby", "Ward", "ward%20", "ward%00", "ward%2f..%2flobby", "%2577ard"):
            assert browser.get(f"/api/v1/cameras/{name}/latest.jpg").status_code == 403, name
        assert browser.get("/api/v1/events?camera=lobby").status_code == 403
        assert browser.get("/api/v1/events?camera=ward").status_code == 200


def test_every_answer_protects_itself_in_a_browser(site: Site, admin: httpx.Client) -> None:
    for path in ("/", "/static/main.js", LOGIN, "/none", "/api/v1/events?limit=0"):
        headers = admin.get(path).headers
        assert headers["content-security-policy"] == (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
            "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        )
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "strict-transport-security" not in headers
        assert "server" not in headers
        assert headers["cache-control"] == ("no-cache" if path in ("/", "/static/main.js") else "no-store")


def test_static_files_are_served_as_they_are_and_asked_for_again(site: Site) -> None:
    with closing(site.client()) as browser:
        for name, (content, tag) in static_files().items():
            answer = browser.get(f"/static/{name}")
            assert (answer.status_code, answer.content, answer.headers["etag"]) == (200, content, tag)
        assert browser.get(f"/static/{name}", headers={"if-none-match": tag}).status_code == 304
        assert browser.head(f"/static/{name}").headers["content-length"] == str(len(content))
        assert browser.get("/").text == static_files()["index.html"][0].decode()


def test_other_methods_are_refused(site: Site, admin: httpx.Client) -> None:
    assert admin.post("/api/v1/events").headers["allow"] == "GET"
    assert admin.request("TRACE", "/").status_code == 405
    assert admin.options(LOGIN).headers["allow"] == "DELETE, GET, POST"
    assert admin.get("/api/v1/live").status_code == 426
    assert admin.request("WS", "/api/v1/live").status_code == 426


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=201", 422),
        ("limit=x", 422),
        ("limit=1&limit=2", 400),
        ("since=yesterday", 422),
        ("since=2026-11-27T10:00:00", 422),
        ("label=beard", 422),
        ("cursor=x", 422),
        ("surprise=1", 422),
        ("since=2026-11-27T10:00:00Z&open=true&label=no_mask&camera=ward&zone=door&limit=200", 200),
    ],
)
def test_a_query_is_checked(admin: httpx.Client, query: str, status: int) -> None:
    answer = admin.get(f"/api/v1/events?{query}")
    assert answer.status_code == status
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"


def test_an_internal_error_is_one_line_for_the_client(
    site: Site, admin: httpx.Client, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(site.store.events, "page", fail)
    answer = admin.get("/api/v1/events")
    assert (answer.status_code, answer.json()["detail"]) == (500, "internal error; the log has its cause")
    assert any("a secret of the inside" in line for line in said)


def test_refused_requests_write_no_line_of_the_log(site: Site, said: list[str]) -> None:
    raw(site, b"nonsense\r\n\r\n")
    raw(site, head("GET", "/none", site, "Connection: close"))
    raw(site, head("POST", LOGIN, site, "Connection: close", "Content-Length: 1") + b"{")
    assert [line for line in said if not line.startswith("DEBUG")] == []


PROXY = {
    "trusted_proxies": ["127.0.0.0/8"],
    "proxy_secret": SECRET,
    "proxy_user_header": "X-User",
    "proxy_role_header": "X-Role",
    "hosts": ["dashboard.example"],
}


@pytest.fixture(scope="module")
def behind_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("behind") / "store", PROXY) as site:
        yield site


def by_proxy(site: Site, path: str, secret: str | None = SECRET, **headers: str) -> httpx.Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()} | {"host": "dashboard.example"}
    if secret is not None:
        given["x-maskstream-proxy-secret"] = secret
    return httpx.get(f"{site.url}{path}", headers=given, trust_env=False, verify=False)


def test_a_proxy_with_the_secret_names_user_and_role(behind_proxy: Site) -> None:
    who = by_proxy(behind_proxy, LOGIN, x_user="anna", x_role="Operator").json()
    assert who == {"name": "anna", "role": "operator", "cameras": None, "expires_utc": None, "fleet": False}
    who = by_proxy(behind_proxy, LOGIN, x_user="ward", x_role="admin").json()
    assert who["cameras"] == ["ward"]  # as `maskstream user add` has limited them


@pytest.mark.parametrize(
    ("secret", "headers"),
    [
        (None, {"x_user": "anna", "x_role": "admin"}),
        ("wrong", {"x_user": "anna", "x_role": "admin"}),
        ("", {"x_user": "anna", "x_role": "admin"}),
        (SECRET, {"x_user": "anna"}),
        (SECRET, {"x_user": "anna", "x_role": "root"}),
        (SECRET, {"x_role": "admin"}),
        (SECRET, {"x_user": "", "x_role": "admin"}),
    ],
    ids=["no secret", "wrong secret", "empty secret", "no role", "unknown role", "no user", "empty user"],
)
def test_other_headers_of_a_proxy_let_nobody_in(behind_proxy: Site, secret: str | None, headers: dict[str, str]) -> None:
    assert by_proxy(behind_proxy, LOGIN, secret, **headers).status_code == 401


def test_headers_from_another_network_let_nobody_in(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("elsewhere") / "store"
    with running_site(folder, PROXY | {"trusted_proxies": ["192.0.2.0/24"]}) as site:
        assert by_proxy(site, LOGIN, x_user="anna", x_role="admin").status_code == 401


def test_behind_tls_of_a_proxy_the_cookie_is_for_tls_and_the_site_for_https(behind_proxy: Site) -> None:
    headers = {
        "host": "dashboard.example",
        "origin": "https://dashboard.example",
        "x-forwarded-proto": "https",
        "x-forwarded-for": "203.0.113.9, 198.51.100.7",
        "x-maskstream-proxy-secret": SECRET,
    }
    body = {"name": "viewer", "password": PASSWORD}
    answer = httpx.post(f"{behind_proxy.url}{LOGIN}", headers=headers, json=body, trust_env=False, verify=False)
    assert answer.status_code == 200
    assert answer.headers["set-cookie"].startswith("__Host-session=")
    assert "; Secure" in answer.headers["set-cookie"]
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    entry = behind_proxy.store.audit.page(limit=1).entries[0]
    assert (entry.what, entry.address) == (
        "login",
        "198.51.100.7",
    )  # the last hop that is no proxy: what is before it is invented


def test_without_the_secret_the_address_of_the_client_is_that_of_the_connection(behind_proxy: Site) -> None:
    headers = {"origin": behind_proxy.url, "x-forwarded-for": "198.51.100.7", "x-forwarded-proto": "https"}
    body = {"name": "operator", "password": PASSWORD}
    answer = httpx.post(f"{behind_proxy.url}{LOGIN}", headers=headers, json=body, trust_env=False, verify=False)
    assert answer.headers["set-cookie"].startswith("session=")
    assert behind_proxy.store.audit.page(limit=1).entries[0].address == "127.0.0.1"


def test_without_tls_other_machines_must_come_through_the_proxy(site: Site) -> None:
    app = WebApp(site.context, ROUTES, Hosts(any_address=True), only_by_proxy=True, recheck_s=30.0)

    def status(path: str, peer: str) -> int:
        async def ask() -> int:
            transport = httpx.ASGITransport(app, client=(peer, 5000))
            async with httpx.AsyncClient(transport=transport, base_url="http://10.0.0.5:8675") as client:
                return (await client.get(path)).status_code

        return asyncio.run(ask())

    assert {path: status(path, "10.0.0.9") for path in ("/", LOGIN, "/healthz", "/metrics")} == {
        "/": 403,
        LOGIN: 403,
        "/healthz": 200,
        "/metrics": 401,
    }
    assert status("/", "127.0.0.1") == 200


def test_too_many_connections_are_closed_at_once() -> None:
    with LimitedSocket(socket.AF_INET, is_shared=lambda peer: False, limit=8) as listening, ExitStack() as clients:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def accepted() -> socket.socket | None:
            clients.enter_context(socket.create_connection(listening.getsockname()))
            with suppress(ConnectionAbortedError):
                return clients.enter_context(listening.accept()[0])
            return None

        first, second = accepted(), accepted()
        assert first is not None
        assert second is not None
        assert accepted() is None  # a quarter of all is the most for one address
        first.close()
        assert accepted() is not None


def test_the_address_of_a_proxy_may_have_all_connections() -> None:
    with LimitedSocket(socket.AF_INET, is_shared=lambda peer: peer == "127.0.0.1", limit=3) as listening, ExitStack() as clients:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        for _ in range(3):
            clients.enter_context(socket.create_connection(listening.getsockname()))
            clients.enter_context(listening.accept()[0])
        clients.enter_context(socket.create_connection(listening.getsockname()))
        with pytest.raises(ConnectionAbortedError):
            listening.accept()


def test_files_of_the_machine_are_named_to_administrators_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    def fail(**_: object) -> None:
        raise StoreError("/srv/secret/maskstream.db: the store cannot be read")

    monkeypatch.setattr(site.store.events, "page", fail)
    with closing(site.client("viewer")) as viewer, closing(site.client("admin")) as admin:
        answers = [browser.get("/api/v1/events") for browser in (viewer, viewer, admin)]
    assert [answer.status_code for answer in answers] == [503] * 3
    assert [answer.json()["detail"] for answer in answers] == [
        "the program cannot do this now; its log has the cause",
        "the program cannot do this now; its log has the cause",
        "/srv/secret/maskstream.db: the store cannot be read",
    ]
    assert [line for line in said if "WARNING" in line] == ["WARNING web: /srv/secret/maskstream.db: the store cannot be read\n"]


def test_a_camera_whose_name_is_an_address_can_be_named(site: Site) -> None:
    name = "rtsp://10.0.0.9/live"
    with site.program(Role.VIEWER, (name,), name="one") as program:
        path = "/api/v1/cameras/{}/latest.jpg"
        assert program.get(path.format(quote(name, safe=""))).status_code == 503  # it is seen, but this site has no cameras
        assert program.get(path.format(quote(f"{name}x", safe=""))).status_code == 403


def test_metrics_are_for_their_networks_and_for_tokens_of_all_cameras(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running_site(tmp_path_factory.mktemp("metrics") / "store", {"metrics_networks": ["127.0.0.1"]}) as site:
        with closing(site.client()) as browser:
            assert browser.get("/metrics").status_code == 200
        with site.program(Role.VIEWER, ("ward",)) as limited:
            assert limited.get("/metrics").status_code == 403
