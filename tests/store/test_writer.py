import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread
from time import thread_time

import pytest

from maskstream.errors import ConfigError, StoreError
from maskstream.store.roles import Role
from maskstream.store.schema import open_store_file
from maskstream.store.store import Store
from maskstream.store.writer import Writer
from tests.clocks import HastyClock
from tests.disks import files_at_most
from tests.slowness import LONGEST_S, promised
from tests.store.made import CHEAP, PASSWORD, counts, event, locked

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")


PATIENT = 0.001
"""The speed of a clock by which a busy machine holds no lock for too long."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path, cost=CHEAP, waits=HastyClock(PATIENT)) as opened:
        yield opened


@contextmanager
def no_file_grows(store: Store) -> Iterator[None]:
    """Let every write that makes the log of the store longer fail, as on a full disk."""
    with files_at_most(Path(f"{store.path}-wal").stat().st_size):
        yield


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a disk of 1 MB."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("mounts are not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def count_until_full(store: Store) -> int:
    """Write until the disk is full, and return how many writes were acknowledged."""
    for acknowledged in range(10_000):
        try:
            store.audit.add("anna", "test", "x" * 900, "local")
        except StoreError:
            return acknowledged
    raise AssertionError("the disk is too large")


def wait_until_failed(store: Store) -> None:
    with pytest.raises(StoreError, match=r"the store cannot be written: .*; make room, or set store\.folder to another disk"):
        store.audit.add("anna", "probe", "", "local")
    assert not store.health().writable


def test_the_thread_of_the_stream_never_waits_for_a_locked_store(tmp_path: Path) -> None:
    """A single wait for the lock would take 200 ms or more; 1500 records are put, and 1000 have room."""
    with Store(tmp_path, cost=CHEAP, waits=HastyClock(20), max_waiting=1000) as store:
        with locked(store.path), promised(within_s=1.0):
            for number in range(1500):
                store.events.put(event(number))
            store.people.put(counts())
            health = store.health()
        assert health.waiting_writes <= 1500  # 500 of them may be in the hands of the writer
        assert health.waiting_writes + health.lost_writes == 1501
        assert store.flush(LONGEST_S)
        assert store.events.page(cameras=None, limit=1).events[0].event_id == "e-1499"
        assert len(store.people.page(cameras=None).minutes) == 1


def test_a_put_costs_the_stream_little(store: Store) -> None:
    records = [event(number) for number in range(1000)]
    began_s = thread_time()
    for record in records:
        store.events.put(record)
    assert (thread_time() - began_s) / len(records) < 0.001


def test_reads_and_health_do_not_wait_for_a_lock(store: Store) -> None:
    store.users.add("anna", Role.VIEWER, None, PASSWORD)
    with locked(store.path), promised(within_s=1.0):
        assert store.users.verify("anna", PASSWORD)
        assert store.health().schema_version


def test_a_write_waits_for_another_process_and_fails_with_one_line(tmp_path: Path) -> None:
    with Store(tmp_path, waits=HastyClock(20), cost=CHEAP) as store, locked(store.path):
        with pytest.raises(
            StoreError, match=r"maskstream\.db: the store cannot be written: another process locks it; "
        ) as caught:
            store.audit.add("anna", "test", "", "local")
        assert "\n" not in str(caught.value)
        assert store.audit.page().entries == []


def test_a_write_succeeds_when_the_other_process_is_ready(store: Store) -> None:
    done = Event()
    with locked(store.path):
        thread = Thread(target=lambda: (store.audit.add("anna", "test", "", "local"), done.set()))
        thread.start()
        assert not done.wait(0.05)
    assert done.wait(LONGEST_S)
    thread.join()
    assert len(store.audit.page().entries) == 1


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Store]:
    """A store that tries again after 50 ms."""
    with Store(tmp_path, cost=CHEAP, waits=HastyClock(20), max_waiting=20) as opened:
        yield opened


def test_a_full_disk_loses_nothing_that_fits_in_memory(hasty: Store, said: list[str]) -> None:
    store = hasty
    store.users.add("anna", Role.VIEWER, None, PASSWORD)
    with no_file_grows(store):
        wait_until_failed(store)
        for number in range(20):
            store.events.put(event(number))
        with pytest.raises(StoreError):
            store.users.add("bob", Role.VIEWER, None, PASSWORD)
        assert not store.flush(0.0)
        health = store.health()
        assert (health.writable, health.waiting_writes, health.lost_writes) == (False, 20, 0)
        assert "20 records wait, 0 are lost" in store.write_problem()
        assert store.users.verify("anna", PASSWORD)
    assert store.flush(LONGEST_S)
    assert len(store.events.page(cameras=None).events) == 20
    assert [user.name for user in store.users.list()] == ["anna"]
    assert store.health().writable
    assert store.write_problem() == ""
    assert len([line for line in said if "cannot be written" in line]) == 1
    assert len([line for line in said if "can be written again; 0 records are lost" in line]) == 1


def test_a_disk_that_stays_full_loses_the_oldest_records_and_counts_them(hasty: Store) -> None:
    with no_file_grows(hasty):
        wait_until_failed(hasty)
        for number in range(35):
            hasty.events.put(event(number))
        wait_until_failed(hasty)
        assert hasty.health().lost_writes == 15
        assert "15 are lost" in hasty.write_problem()
    assert hasty.flush(LONGEST_S)
    kept = hasty.events.page(cameras=None).events
    assert [each.event_id for each in kept] == [f"e-{number}" for number in reversed(range(15, 35))]


@ROOT_ONLY
def test_a_real_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as folder, Store(folder / "store", cost=CHEAP, waits=HastyClock(20)) as store:
        store.users.add("anna", Role.ADMIN, None, PASSWORD)
        rest = folder / "others"
        with pytest.raises(OSError, match="No space left"):
            rest.write_bytes(b"0" * 2_000_000)
        acknowledged = count_until_full(store)
        assert store.health().error == "database or disk is full"
        store.events.put(event(1))
        assert not store.health().writable
        assert store.users.verify("anna", PASSWORD)
        rest.unlink()
        assert store.flush(LONGEST_S)
        assert store.health().writable
        assert len(store.audit.page(limit=1_000).entries) == acknowledged
        assert store.events.get("e-1") is not None


def test_one_wrong_write_does_not_touch_the_others(store: Store) -> None:
    writer = store._database.writer
    with locked(store.path):  # so that they share a transaction
        first = writer.submit(lambda connection: connection.execute("INSERT INTO audit VALUES (1, 1, '', '', '', '')").rowcount)
        refused = writer.submit(lambda connection: connection.execute("INSERT INTO audit VALUES (1, 1, '', '', '', '')"))
        wrong = writer.submit(lambda connection: connection.execute("SELECT absent"))
        last = writer.submit(lambda connection: connection.execute("INSERT INTO audit VALUES (2, 1, '', '', '', '')").rowcount)
    assert (first.result(LONGEST_S), last.result(LONGEST_S)) == (1, 1)
    with pytest.raises(sqlite3.IntegrityError):
        refused.result(LONGEST_S)
    with pytest.raises(sqlite3.OperationalError, match="no such column"):
        wrong.result(LONGEST_S)
    assert [entry.number for entry in store.audit.page().entries] == [2, 1]


def test_a_record_that_cannot_be_stored_is_counted_and_the_next_ones_are_stored(store: Store, said: list[str]) -> None:
    store._database.offer(lambda connection: connection.execute("INSERT INTO nowhere VALUES (1)"))
    store.events.put(event(1))
    assert store.flush(LONGEST_S)
    assert store.health().lost_writes == 1
    assert store.events.get("e-1") is not None
    assert any("a record cannot be stored: OperationalError: no such table: nowhere" in line for line in said)


def test_a_result_comes_after_the_commit(store: Store) -> None:
    with closing(sqlite3.connect(store.path)) as other:
        for number in range(20):
            store.audit.add("anna", "test", "", "local")
            assert other.execute("SELECT count(*) FROM audit").fetchone() == (number + 1,)


def test_closing_writes_what_waits(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with locked(store.path):
        for number in range(1200):
            store.events.put(event(number))
    store.close()
    store.close()
    with Store(tmp_path) as again:
        assert len(again.events.page(cameras=None, limit=2000).events) == 1200


def test_closing_a_locked_store_is_bounded_and_says_what_is_lost(tmp_path: Path, said: list[str]) -> None:
    store = Store(tmp_path)
    with locked(store.path):
        store.events.put(event(1))
        with promised(within_s=3.0):
            store.close()
    assert any("1 records are lost at the end of the program" in line for line in said)
    for act in (lambda: store.audit.page(), lambda: store.audit.add("a", "b", "c", "d")):
        with pytest.raises(StoreError, match="closed"):
            act()


def test_requests_have_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    writer = Writer("a.db", open_store_file(path), HastyClock(PATIENT))
    with locked(path):
        answers = [writer.submit(lambda connection: None) for _ in range(2000)]
        refused = [answer for answer in answers if answer.done()]
    assert 500 <= len(refused) <= 1000  # 500 may be in the hands of the writer
    assert {type(answer.exception(LONGEST_S)) for answer in refused} == {StoreError}
    assert {answer.exception(LONGEST_S) for answer in answers if answer not in refused} == {None}
    writer.close(LONGEST_S)


def test_an_error_of_the_caller_is_raised_in_the_caller(store: Store) -> None:
    store.users.add("anna", Role.VIEWER, None, PASSWORD)
    with pytest.raises(ConfigError, match="the user exists already"):
        store.users.add("ANNA", Role.ADMIN, None, PASSWORD)
    assert store.health().writable
