from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskstream.store.logins import FREE_FAILURES, LONGEST_PAUSE_S, NO_ATTEMPTS, Attempts
from maskstream.store.store import Store
from tests.store.made import CHEAP, NOON, WallClock
from tests.store.test_writer import no_file_grows

HOUR_S = 3600.0


def fail(store: Store, times: int, account: str = "anna", address: str = "10.0.0.1") -> list[float]:
    return [store.logins.begin(account, address) for _ in range(times)]


def test_the_sixth_login_within_a_minute_waits(store: Store, clock: WallClock) -> None:
    assert fail(store, 5) == [0.0] * 5
    assert fail(store, 2) == [60.0, 60.0]
    clock.advance(59)
    assert store.logins.wait_s("ANNA", "10.0.0.1") == 1.0
    clock.advance(1)
    assert store.logins.wait_s("anna", "10.0.0.1") == 0.0


def test_five_a_minute_are_allowed_without_limit(store: Store, clock: WallClock) -> None:
    for _ in range(20):
        assert fail(store, 4) == [0.0] * 4
        clock.advance(60)


def test_the_pause_doubles_to_fifteen_minutes_and_ends(store: Store, clock: WallClock) -> None:
    fail(store, 4)
    pauses = []
    for _ in range(7):
        assert fail(store, 1) == [0.0]
        pauses.append(store.logins.wait_s("anna", "10.0.0.1"))
        clock.advance(pauses[-1])
    assert pauses == [60.0, 120.0, 240.0, 480.0, 900.0, 900.0, 900.0]
    clock.advance(LONGEST_PAUSE_S)
    assert fail(store, 4) == [0.0] * 4
    assert store.logins.wait_s("anna", "10.0.0.1") == 0.0


def test_an_account_is_limited_over_many_addresses_and_an_address_over_many_accounts(store: Store) -> None:
    for number in range(5):
        assert fail(store, 1, "anna", f"10.0.1.{number}") == [0.0]
    assert fail(store, 1, "anna", "10.0.2.1") == [60.0]
    assert fail(store, 1, "bob", "10.0.2.1") == [0.0]
    for number in range(5):
        assert fail(store, 1, f"user{number}", "10.0.3.1") == [0.0]
    assert fail(store, 1, "carl", "10.0.3.1") == [60.0]


def test_the_addresses_of_one_ipv6_network_are_one(store: Store) -> None:
    for number in range(5):
        assert fail(store, 1, f"user{number}", f"2001:db8::{number + 1}") == [0.0]
    assert fail(store, 1, "anna", "2001:db8:0:0:ffff::1%eth0") == [60.0]
    assert fail(store, 1, "anna", "2001:db8:0:1::1") == [0.0]
    for number in range(4):
        fail(store, 1, f"user{number}", "::ffff:10.0.0.9")
    assert fail(store, 2, "bob", "10.0.0.9") == [0.0, 60.0]


def test_a_success_forgets_the_failures_of_the_account(store: Store) -> None:
    for _ in range(20):
        assert fail(store, 5) == [0.0] * 5
        store.logins.succeeded("anna", "10.0.0.1")
        for _ in range(4):  # the address keeps those that were not this login
            store.logins.succeeded("anna", "10.0.0.1")


def test_many_users_behind_one_address_log_in(store: Store) -> None:
    for number in range(30):
        assert fail(store, 1, f"user{number}") == [0.0]
        store.logins.succeeded(f"user{number}", "10.0.0.1")


def test_own_logins_do_not_clear_the_guesses_at_another_account(store: Store) -> None:
    """A viewer who guesses the password of the administrator logs in between the guesses."""
    waits = []
    for _ in range(6):
        waits += fail(store, 1, "admin", "10.0.0.1")
        if fail(store, 1, "mallory", "10.0.0.1") == [0.0]:
            store.logins.succeeded("mallory", "10.0.0.1")
    assert waits[-1] > 0.0


def test_an_attack_from_elsewhere_does_not_lock_a_user_out(store: Store, clock: WallClock) -> None:
    store.logins.succeeded("anna", "10.0.0.1")
    for number in range(9):
        fail(store, 1, "anna", f"192.0.2.{number}")
    assert store.logins.wait_s("anna", "192.0.2.200") > 0.0
    assert fail(store, 5, "anna", "10.0.0.1") == [0.0] * 5
    assert fail(store, 1, "anna", "10.0.0.1") == [60.0]
    clock.advance(100 * 86_400)
    fail(store, 1, "bob", "10.0.9.9")
    for number in range(5):
        fail(store, 1, "anna", f"192.0.2.{number}")
    assert store.logins.wait_s("anna", "10.0.0.1") > 0.0


def test_a_restart_keeps_the_limit(store: Store, clock: WallClock) -> None:
    fail(store, 5)
    store.close()
    with Store(store.folder, clock, cost=CHEAP) as again:
        assert again.logins.wait_s("anna", "10.9.9.9") == 60.0
        assert again.logins.wait_s("bob", "10.0.0.1") == 60.0


def test_the_file_contains_no_names_that_were_tried(store: Store) -> None:
    """A password is often typed into the field of the name."""
    fail(store, 2, "my secret password")
    store.close()
    assert b"my secret" not in b"".join(path.read_bytes() for path in store.folder.iterdir())


def test_a_full_disk_does_not_lift_the_limit(store: Store, clock: WallClock) -> None:
    with no_file_grows(store):
        assert fail(store, 6) == [0.0] * 5 + [60.0]
        clock.advance(60)
        assert fail(store, 2) == [0.0, 120.0]
    clock.advance(120)
    assert fail(store, 2) == [0.0, 240.0]
    with Store(store.folder, clock, cost=CHEAP) as other:
        assert other.logins.wait_s("anna", "10.0.0.1") == 240.0


@pytest.mark.parametrize("back_s", [1.0, 30.0, HOUR_S, 400 * 86_400.0])
def test_the_clock_set_back_neither_lifts_nor_extends_a_pause(back_s: float, store: Store, clock: WallClock) -> None:
    fail(store, 5)
    clock.now_s -= back_s
    assert store.logins.wait_s("anna", "10.0.0.1") == 60.0
    assert fail(store, 1) == [60.0]
    clock.advance(40)
    assert fail(store, 1) == [20.0]
    clock.advance(20)
    assert fail(store, 1) == [0.0]


def test_guesses_at_the_same_time_are_counted_one_by_one(store: Store) -> None:
    with ThreadPoolExecutor(12) as pool:
        waits = list(pool.map(lambda number: store.logins.begin("anna", f"10.0.0.{number}"), range(40)))
    assert sorted(waits)[:6] == [0.0] * 5 + [60.0]


def test_forgotten_accounts_leave_the_file(store: Store, clock: WallClock) -> None:
    def rows() -> int:
        with store._database.reading() as connection:
            return int(connection.execute("SELECT count(*) FROM logins").fetchone()[0])

    for number in range(10):
        fail(store, 1, f"user{number}", f"10.0.0.{number}")
    assert rows() == 20
    clock.advance(86_401)
    fail(store, 1)
    assert rows() == 2


@given(st.lists(st.floats(0.0, 2000.0), max_size=60))
def test_guesses_at_any_times_are_at_most_five_a_minute(waits_s: list[float]) -> None:
    attempts, now_s, allowed = NO_ATTEMPTS, NOON.timestamp(), []
    for wait_s in waits_s:
        now_s += wait_s
        assert 0.0 <= attempts.wait_s(now_s) <= LONGEST_PAUSE_S + 1e-6
        if attempts.wait_s(now_s) == 0.0:
            attempts = attempts.after_failure(now_s)
            allowed.append(now_s)
    for first, last in zip(allowed, allowed[2 * FREE_FAILURES :], strict=False):
        assert last - first >= 60.0


@given(st.lists(st.tuples(st.floats(-1e9, 1e9), st.booleans()), max_size=40))
def test_any_clock_leaves_a_pause_of_fifteen_minutes_at_most(steps: list[tuple[float, bool]]) -> None:
    attempts, now_s = Attempts(), NOON.timestamp()
    for step_s, tries in steps:
        now_s = max(0.0, now_s + step_s)
        attempts = attempts.at(now_s)
        assert 0.0 <= attempts.wait_s(now_s) <= LONGEST_PAUSE_S + 1e-6
        if tries and attempts.wait_s(now_s) == 0.0:
            attempts = attempts.after_failure(now_s)


def test_a_locked_store_limits_logins_too(store: Store, tmp_path: Path) -> None:
    assert fail(store, 4) == [0.0] * 4
    store._database.writer.close(10)  # no write succeeds any more
    assert fail(store, 2) == [0.0, 60.0]
