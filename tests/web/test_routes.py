"""Walks the route table: every route, by everyone, and in every way that must be refused."""

import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from socket import create_connection

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from maskstream.store.roles import Role
from maskstream.web.route import Route
from maskstream.web.routes import ROUTES, openapi
from tests.conftest import ROOT
from tests.fleet.statuses import fleet
from tests.web.site import Site, fleet_context, running_site

RANKS = {"display": 0, "viewer": 1, "operator": 2, "admin": 3}
NOBODY = "nobody"
WARD = "ward"
"""A viewer of the camera `ward` alone."""
NAMES = {"camera": "lobby", "event_id": "none", "file": "main.js", "folder": "pages", "node": "east"}


@pytest.fixture(scope="module", params=["store", "fleet"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A dashboard of a store alone, and that of a fleet."""
    context = fleet_context(fleet) if request.param == "fleet" else {}
    with running_site(tmp_path_factory.mktemp("site") / "store", **context) as site:
        yield site


@pytest.fixture(scope="module")
def headers(site: Site) -> dict[str, dict[str, str]]:
    """What everyone sends to be recognised: an API token of each role."""
    tokens = {role.value: site.store.tokens.add(f"token-{role.value}", role, None, None) for role in Role}
    tokens[WARD] = site.store.tokens.add("token-ward", Role.VIEWER, (WARD,), None)
    return {NOBODY: {}} | {name: {"authorization": f"Bearer {token}"} for name, token in tokens.items()}


def path_of(route: Route) -> str:
    return route.path.format(**NAMES)


def ask(site: Site, route: Route, headers: Mapping[str, str], **options: object) -> httpx.Response:
    """Return the answer to a request without a body; that to a WebSocket has its status alone."""
    if route.method != "WS":
        with httpx.Client(base_url=site.url, trust_env=False, verify=False) as client:
            return client.request(route.method, path_of(route), headers=headers, **options)  # type: ignore[arg-type]
    given = {name: value for name, value in headers.items() if name not in ("origin", "host")}
    url = f"ws://{headers.get('host', site.host)}{path_of(route)}"
    address, _, port = site.host.partition(":")
    with create_connection((address, int(port))) as opened:  # the client leaves it open where it is refused
        try:
            with connect(url, sock=opened, origin=headers.get("origin"), additional_headers=given, proxy=None):  # type: ignore[arg-type]
                return httpx.Response(101)
        except InvalidStatus as refused:
            answer = refused.response
            return httpx.Response(answer.status_code, headers=dict(answer.headers), content=bytes(answer.body))


def expected(route: Route, who: str) -> set[int]:
    """Return the statuses of refusal that WEB.md names for a user of a route; none where it is allowed."""
    if route.access == "none":
        return set()
    if who == NOBODY:
        return {401}
    if route.access == "self":
        return set()
    rank = RANKS["viewer" if who == WARD else who]
    if route.access == "metrics":
        return set() if rank >= RANKS["viewer"] and who != WARD else {403}
    if rank < RANKS[route.access] or (who == WARD and "{camera}" in route.path):
        return {403}
    return set()


@pytest.mark.parametrize("who", [NOBODY, WARD, *RANKS])
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_is_for_its_roles_alone(site: Site, headers: dict[str, dict[str, str]], route: Route, who: str) -> None:
    answer = ask(site, route, {**headers[who], "origin": site.url})
    refused = expected(route, who)
    assert {answer.status_code} & {401, 403} == refused
    assert answer.status_code != 500
    if refused:
        assert_problem(answer)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_request_for_another_host_is_refused(site: Site, headers: dict[str, dict[str, str]], route: Route) -> None:
    answer = ask(site, route, {**headers["admin"], "host": "evil.example"})
    assert answer.status_code == 421
    assert_problem(answer)


CHANGING = [route for route in ROUTES if route.method != "GET"]


@pytest.mark.parametrize("route", CHANGING, ids=lambda route: f"{route.method} {route.path}")
@pytest.mark.parametrize(
    "foreign",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://127.0.0.1:1"},
        {},
    ],
    ids=str,
)
def test_a_request_of_another_site_is_refused(site: Site, foreign: dict[str, str], route: Route) -> None:
    with closing(site.client("admin")) as browser:
        cookie = {"cookie": f"session={browser.cookies['session']}"}
        answer = ask(site, route, cookie | foreign)
        assert answer.status_code == 403
        assert_problem(answer)
        assert browser.get("/api/v1/session").status_code == 200  # nothing has logged the user out


WITH_BODY = [route for route in ROUTES if route.body is not None]


@pytest.mark.parametrize("route", WITH_BODY, ids=lambda route: f"{route.method} {route.path}")
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", None])
def test_a_body_that_is_not_json_is_refused(
    site: Site, headers: dict[str, dict[str, str]], route: Route, kind: str | None
) -> None:
    given = headers["admin"] | ({} if kind is None else {"content-type": kind}) | {"origin": site.url}
    answer = ask(site, route, given, content=b'{"name": "admin"}')
    assert answer.status_code == 415
    assert_problem(answer)


@pytest.mark.parametrize("route", WITH_BODY, ids=lambda route: f"{route.method} {route.path}")
@pytest.mark.parametrize(
    ("content", "status"),
    [(b"{", 400), (b"", 400), (b"\xff\xfe", 400), (b"[" * 60_000, 400), (b'{"surprise": 1}', 422), (b"[]", 422), (b"null", 422)],
    ids=["cut", "empty", "not text", "deep", "unknown key", "list", "null"],
)
def test_a_body_that_does_not_fit_is_refused(
    site: Site, headers: dict[str, dict[str, str]], route: Route, content: bytes, status: int
) -> None:
    given = headers["admin"] | {"content-type": "application/json", "origin": site.url}
    answer = ask(site, route, given, content=content)
    assert answer.status_code == status
    assert_problem(answer)


def test_no_two_routes_are_the_same() -> None:
    rows = [(route.method, route.path) for route in ROUTES]
    assert len(set(rows)) == len(rows)


def test_the_description_has_every_route_and_resolves(site: Site, headers: dict[str, dict[str, str]]) -> None:
    shown = httpx.get(f"{site.url}/openapi.json", headers=headers["viewer"], trust_env=False, verify=False).json()
    assert shown == openapi()
    described = {(method, path) for path, methods in shown["paths"].items() for method in methods}
    assert described == {("get" if route.method == "WS" else route.method.lower(), route.path) for route in ROUTES}
    assert references(shown) <= {f"#/components/schemas/{name}" for name in shown["components"]["schemas"]}


def test_the_documentation_lists_every_route_with_its_role() -> None:
    text = (ROOT / "docs" / "web.md").read_text()
    listed = re.findall(r"^\| ([A-Z]+) `(/\S+)` \| (\w+) \|", text, re.MULTILINE)
    pages = {"/", "/static/{file}", "/static/{folder}/{file}"}
    assert sorted(listed) == sorted((route.method, route.path, str(route.access)) for route in ROUTES if route.path not in pages)


def references(schema: object) -> set[str]:
    """Return all `$ref` in a description."""
    if isinstance(schema, dict):
        own = {schema["$ref"]} if isinstance(schema.get("$ref"), str) else set()
        return own.union(*map(references, schema.values()))
    return set().union(*map(references, schema)) if isinstance(schema, list) else set()


def assert_problem(answer: httpx.Response) -> None:
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail"}
    assert problem["status"] == answer.status_code
    assert "\n" not in problem["detail"]
    assert problem["detail"]
