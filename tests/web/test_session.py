"""Logging in and out: wrong passwords, limits, sessions that end, and who a request comes from."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from time import perf_counter

import httpx
import pytest

from maskstream.store.passwords import ScryptCost
from maskstream.store.roles import Role
from tests.web.site import PASSWORD, Site, running_site

LOGIN = "/api/v1/session"


class WallClock:
    """A clock that is set by the test."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


@pytest.fixture
def site(tmp_path: Path, clock: WallClock) -> Iterator[Site]:
    with running_site(tmp_path / "store", now_s=clock) as site:
        yield site


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site for tests that change nothing."""
    with running_site(tmp_path_factory.mktemp("shared") / "store") as site:
        yield site


def log_in(browser: httpx.Client, name: str, password: str) -> httpx.Response:
    return browser.post(LOGIN, json={"name": name, "password": password})


def test_a_user_logs_in_and_out(site: Site) -> None:
    with closing(site.client()) as browser:
        answer = log_in(browser, "ward", PASSWORD)
        who = {
            "name": "ward",
            "role": "viewer",
            "cameras": ["ward"],
            "expires_utc": "2027-01-15T20:00:00.000+00:00",
            "fleet": False,
        }
        assert answer.json() == who
        assert browser.get(LOGIN).json() == who
        cookie = browser.cookies["session"]
        assert browser.delete(LOGIN).status_code == 204
        assert "session" not in browser.cookies
        assert browser.get(LOGIN, headers={"cookie": f"session={cookie}"}).status_code == 401
    whats = [(entry.who, entry.what, entry.address) for entry in site.store.audit.page().entries]
    assert whats == [("ward", "logout", "127.0.0.1"), ("ward", "login", "127.0.0.1")]


def test_the_cookie_is_for_this_site_and_no_script(shared: Site) -> None:
    with closing(shared.client()) as browser:
        cookie = log_in(browser, "admin", PASSWORD).headers["set-cookie"]
    name_and_value, *attributes = cookie.split("; ")
    assert name_and_value.startswith("session=")
    assert {each.lower() for each in attributes} == {"httponly", "path=/", "samesite=strict", "max-age=43200"}


def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(site: Site) -> None:
    with closing(site.client()) as browser:
        answers = [log_in(browser, name, "wrong password") for name in ("admin", "nobody", "' OR 1=1 --", "admin\0")]
    assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}
    assert "set-cookie" not in answers[0].headers
    assert PASSWORD not in answers[0].text


def test_a_wrong_password_and_an_unknown_user_take_the_same_time(tmp_path: Path, clock: WallClock) -> None:
    """Measured in turns; the fastest of five of each."""
    took_s: dict[str, list[float]] = {"admin": [], "nobody": []}
    with (
        running_site(tmp_path / "store", now_s=clock, cost=ScryptCost(n=2**14, r=8, p=1)) as site,
        closing(site.client()) as browser,
    ):
        for _ in range(5):
            clock.now_s += 1000  # else the sixth must wait
            for name, times in took_s.items():
                began_s = perf_counter()
                assert log_in(browser, name, "wrong password").status_code == 401
                times.append(perf_counter() - began_s)
    known_s, unknown_s = min(took_s["admin"]), min(took_s["nobody"])
    assert 1 / 4 < unknown_s / known_s < 4  # without the hash it would take less than a hundredth


def test_the_sixth_attempt_must_wait(site: Site, clock: WallClock) -> None:
    with closing(site.client()) as browser:
        assert [log_in(browser, "admin", "wrong password").status_code for _ in range(5)] == [401] * 5
        refused = log_in(browser, "admin", PASSWORD)
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "60"
        assert refused.json()["detail"] == "too many attempts to log in; try again in 60 s"
        clock.now_s += 60
        assert log_in(browser, "admin", PASSWORD).status_code == 200
    assert site.context.counts.logins == {"failure": 5, "limited": 1, "success": 1}


def test_attempts_at_the_same_time_are_limited_too(site: Site) -> None:
    def attempt(number: int) -> int:
        with closing(site.client()) as browser:
            return log_in(browser, f"user{number}", "wrong password").status_code

    with ThreadPoolExecutor(20) as many:
        statuses = list(many.map(attempt, range(20)))
    assert sorted(statuses) == [401] * 5 + [429] * 15


def test_a_session_ends_after_half_an_hour_without_a_request(site: Site, clock: WallClock) -> None:
    with closing(site.client("admin")) as browser:
        clock.now_s += 1790
        assert browser.get(LOGIN).status_code == 200
        clock.now_s += 1790
        assert browser.get(LOGIN).status_code == 200
        clock.now_s += 1801
        assert browser.get(LOGIN).status_code == 401


def test_a_session_ends_after_twelve_hours(site: Site, clock: WallClock) -> None:
    with closing(site.client("admin")) as browser:
        for _ in range(24):
            clock.now_s += 1799
            assert browser.get(LOGIN).status_code == 200
        clock.now_s += 24
        assert browser.get(LOGIN).status_code == 401


def test_a_session_has_the_rights_that_its_user_has_now(site: Site) -> None:
    with closing(site.client("operator")) as browser:
        assert browser.get("/api/v1/events").status_code == 200
        site.store.users.set_role("operator", Role.DISPLAY, None)
        assert browser.get("/api/v1/events").status_code == 403
        site.store.users.set_password("operator", "another long password")
        assert browser.get(LOGIN).status_code == 401


def test_the_session_of_a_removed_user_ends(site: Site) -> None:
    with closing(site.client("operator")) as browser:
        site.store.users.remove("operator")
        assert browser.get(LOGIN).status_code == 401


def test_the_session_of_another_store_is_unknown(site: Site, tmp_path: Path) -> None:
    with running_site(tmp_path / "other") as other, closing(other.client("admin")) as browser:
        cookie = f"session={browser.cookies['session']}"
    with closing(site.client()) as stranger:
        assert stranger.get(LOGIN, headers={"cookie": cookie}).status_code == 401


@pytest.mark.parametrize(
    "cookie", ["session=", "session=x", f"session={'A' * 43}", f"session={'A' * 4000}", "session=\xe4", "; ="]
)
def test_an_invented_session_is_unknown(shared: Site, cookie: str) -> None:
    with closing(shared.client()) as browser:
        answer = browser.get(LOGIN, headers={"cookie": cookie.encode("latin-1")})
        assert answer.status_code == 401


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer x", "Basic YWRtaW46YWRtaW4=", "Bearer a b", "bearer mst_" + "A" * 43, "x" * 2000]
)
def test_an_invented_token_is_refused_even_with_a_session(shared: Site, header: str) -> None:
    with closing(shared.client("admin")) as browser:
        answer = browser.get(LOGIN, headers={"authorization": header})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"


def test_a_token_ends_and_needs_no_origin(site: Site, clock: WallClock) -> None:
    token = site.store.tokens.add("short", Role.ADMIN, None, clock.now_s + 60)
    with httpx.Client(base_url=site.url, headers={"authorization": f"Bearer {token}"}, trust_env=False, verify=False) as program:
        assert program.get(LOGIN).json() == {
            "name": "short",
            "role": "admin",
            "cameras": None,
            "expires_utc": None,
            "fleet": False,
        }
        assert program.delete(LOGIN).status_code == 204  # ends sessions, not tokens
        clock.now_s += 60
        assert program.get(LOGIN).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {"name": "admin"},
        {"name": "", "password": PASSWORD},
        {"name": "admin", "password": ""},
        {"name": 1, "password": PASSWORD},
        {"name": "admin", "password": PASSWORD, "role": "admin"},
        {"name": "a" * 101, "password": PASSWORD},
        {"name": "admin", "password": "a" * 1001},
    ],
    ids=["no password", "empty name", "empty password", "number", "role", "long name", "long password"],
)
def test_a_login_that_is_none_is_refused_without_its_password(shared: Site, body: dict[str, object]) -> None:
    with closing(shared.client()) as browser:
        answer = browser.post(LOGIN, json=body)
    assert answer.status_code == 422
    assert PASSWORD not in answer.text
    assert "aaaa" not in answer.text
