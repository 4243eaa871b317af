import re
from pathlib import Path

import pytest

from maskstream.errors import ConfigError, StoreError
from maskstream.store.roles import Role
from maskstream.store.sessions import ABSOLUTE_S, IDLE_S
from maskstream.store.store import Store
from tests.disks import files_at_most
from tests.slowness import LONGEST_S
from tests.store.made import CHEAP, PASSWORD, WallClock


@pytest.fixture
def secret(store: Store) -> str:
    store.users.add("anna", Role.OPERATOR, ("door",), PASSWORD)
    return store.sessions.create("Anna", "10.0.0.1")


def everything(store: Store) -> bytes:
    store.close()
    return b"".join(path.read_bytes() for path in store.folder.iterdir() if path.is_file())


def test_a_session_has_the_user_and_an_end(store: Store, secret: str, clock: WallClock) -> None:
    session = store.sessions.find(secret)
    assert session is not None
    assert (session.user.name, session.role, session.cameras, session.address) == ("anna", Role.OPERATOR, ("door",), "10.0.0.1")
    assert session.expires_s == clock() + ABSOLUTE_S
    assert session.may_see("door")
    assert not session.may_see("hall")


def test_secrets_are_random_and_not_stored(store: Store, secret: str) -> None:
    other = store.sessions.create("anna", "10.0.0.1")
    token = store.tokens.add("metrics", Role.VIEWER, None, None)
    assert len({secret, other, token[4:]}) == 3
    assert all(re.fullmatch(r"[\w-]{43}", each, re.ASCII) for each in (secret, other, token.removeprefix("mst_")))
    content = everything(store)
    assert not [each for each in (secret, other, token, token[4:], PASSWORD) if each.encode() in content]


@pytest.mark.parametrize("secret", ["", "x", "a" * 43, "a" * 44, "é" * 43, "a" * 42 + "\n", "' OR 1=1 --", "\udce9" * 43])
def test_a_foreign_session_or_token_is_none(secret: str, store: Store) -> None:
    assert store.sessions.find(secret) is None
    assert store.tokens.find(secret) is None
    assert store.tokens.find("mst_" + secret) is None


def test_a_check_does_not_renew_a_session(store: Store, secret: str, clock: WallClock) -> None:
    for _ in range(2):
        clock.advance(IDLE_S / 2 - 1)
        assert store.sessions.find(secret, renew=False) is not None
    clock.advance(3)
    assert store.sessions.find(secret, renew=False) is None


def test_a_session_ends_when_it_is_idle(store: Store, secret: str, clock: WallClock) -> None:
    for _ in range(5):
        clock.advance(IDLE_S - 1)
        assert store.sessions.find(secret) is not None
    clock.advance(IDLE_S)
    assert store.sessions.find(secret) is None
    clock.now_s -= IDLE_S
    assert store.flush(LONGEST_S)
    assert store.sessions.find(secret) is None


def test_a_session_ends_after_twelve_hours(store: Store, secret: str, clock: WallClock) -> None:
    end_s = clock() + ABSOLUTE_S
    while clock() + 1000 < end_s:
        clock.advance(1000)
        assert store.sessions.find(secret) is not None
    clock.now_s = end_s
    assert store.sessions.find(secret) is None


def test_the_latest_use_survives_a_restart(store: Store, secret: str, clock: WallClock) -> None:
    clock.advance(IDLE_S - 1)
    assert store.sessions.find(secret) is not None
    store.close()
    clock.advance(IDLE_S - 1)
    with Store(store.folder, clock, cost=CHEAP) as again:
        assert again.sessions.find(secret) is not None


def test_a_session_is_written_at_most_once_a_minute(store: Store, secret: str, clock: WallClock) -> None:
    def uses() -> float:
        assert store.flush(LONGEST_S)
        with store._database.reading() as connection:
            return float(connection.execute("SELECT used_s FROM sessions").fetchone()[0])

    began_s = clock()
    for _ in range(59):
        clock.advance(1)
        assert store.sessions.find(secret) is not None
    assert uses() == began_s
    clock.advance(1)
    assert store.sessions.find(secret) is not None
    assert uses() == began_s + 60


def test_a_full_disk_does_not_log_users_out(store: Store, secret: str, clock: WallClock) -> None:
    with files_at_most(Path(f"{store.path}-wal").stat().st_size):
        for _ in range(3):
            clock.advance(IDLE_S - 1)
            assert store.sessions.find(secret) is not None
        with pytest.raises(StoreError):
            store.sessions.create("anna", "10.0.0.1")


def test_a_session_from_before_the_clock_was_set_back_has_ended(store: Store, secret: str, clock: WallClock) -> None:
    clock.now_s -= 30
    assert store.sessions.find(secret) is not None
    clock.now_s -= 3600
    assert store.sessions.find(secret) is None
    new = store.sessions.create("anna", "10.0.0.1")
    assert store.sessions.find(new) is not None


def test_the_end_of_a_session(store: Store, secret: str) -> None:
    others = [store.sessions.create("anna", "10.0.0.2") for _ in range(3)]
    store.sessions.revoke(secret)
    assert [store.sessions.find(each) is not None for each in (secret, *others)] == [False, True, True, True]
    store.sessions.revoke_all("ANNA")
    assert [store.sessions.find(each) for each in others] == [None] * 3


def test_a_change_of_the_user_reaches_the_session(store: Store, secret: str) -> None:
    store.users.set_role("anna", Role.DISPLAY, None)
    session = store.sessions.find(secret)
    assert session is not None
    assert (session.role, session.cameras) == (Role.DISPLAY, None)
    store.users.set_password("anna", "another password")
    assert store.sessions.find(secret) is None
    again = store.sessions.create("anna", "10.0.0.1")
    store.users.remove("anna")
    assert store.sessions.find(again) is None
    with pytest.raises(ConfigError, match="anna: the user does not exist"):
        store.sessions.create("anna", "10.0.0.1")


def test_ended_sessions_are_deleted(store: Store, secret: str, clock: WallClock) -> None:
    clock.advance(ABSOLUTE_S + 1)
    store.sessions.create("anna", "10.0.0.1")
    with store._database.reading() as connection:
        assert connection.execute("SELECT count(*) FROM sessions").fetchone() == (1,)


def test_tokens(store: Store, clock: WallClock) -> None:
    secret = store.tokens.add("metrics", Role.VIEWER, ("door",), clock() + 100)
    found = store.tokens.find(secret)
    assert found is not None
    assert (found.name, found.role, found.cameras, found.used_s) == ("metrics", Role.VIEWER, ("door",), None)
    assert found.may_see("door")
    assert not found.may_see("hall")
    with pytest.raises(ConfigError, match="metrics: the token exists already"):
        store.tokens.add("metrics", Role.ADMIN, None, None)
    assert store.flush(LONGEST_S)
    assert [(token.name, token.used_s) for token in store.tokens.list()] == [("metrics", clock())]
    store.tokens.remove("metrics")
    assert store.tokens.find(secret) is None
    with pytest.raises(ConfigError, match="metrics: the token does not exist"):
        store.tokens.remove("metrics")


def test_a_token_that_has_expired_stays_expired(store: Store, clock: WallClock) -> None:
    secret = store.tokens.add("metrics", Role.VIEWER, None, clock() + 100)
    forever = store.tokens.add("home", Role.VIEWER, None, None)
    clock.advance(100)
    assert store.tokens.find(secret) is None
    assert store.flush(LONGEST_S)
    clock.now_s -= 100
    assert store.tokens.find(secret) is None
    clock.advance(1e9)
    assert store.tokens.find(forever) is not None


def test_a_restart_keeps_sessions_and_tokens(store: Store, secret: str, clock: WallClock, tmp_path: Path) -> None:
    token = store.tokens.add("metrics", Role.VIEWER, None, None)
    store.close()
    with Store(store.folder, clock, cost=CHEAP) as again:
        assert again.sessions.find(secret) is not None
        assert again.tokens.find(token) is not None
