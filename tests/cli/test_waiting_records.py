"""Records that wait in the queue are delivered to the receivers that the configuration names."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from maskstream import load_config
from maskstream.cli.reporting import Reporting
from maskstream.config.loading import Layer
from maskstream.config.source_settings import SourceSettings
from maskstream.errors import ConfigError
from maskstream.events.sink import EventSink
from maskstream.protocols import Sink
from tests.events.test_delivery import event, keys
from tests.ports import free_port
from tests.receivers import wait_until, web_receiver


@contextmanager
def reporting(folder: Path, **events: Any) -> Iterator[list[Sink]]:
    """Open all who are told, with a queue in a folder."""
    config = load_config(layers=[Layer("test", {"events": {"queue": str(folder / "events.db"), **events}})])
    sinks = list(Reporting(SourceSettings(config)).sinks(None, None, None))
    try:
        yield sinks
    finally:
        for sink in sinks:
            sink.close()


def tell(sink: Sink, number: int) -> None:
    assert isinstance(sink, EventSink)
    sink._receiver.take([event(number)])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"url": "{0}/hook?token=1"}, {"url": "{0}/hook?token=2"}),
        ({"url": "{0}/hook", "name": "desk"}, {"url": "{0}/elsewhere", "name": "desk"}),
        ({"url": "{0}/hook?token=1"}, {"url": "{0}/hook?token=2", "name": "desk"}),
    ],
    ids=["another token", "another address", "a name"],
)
def test_what_waits_for_a_receiver_is_delivered_where_its_address_changes(
    tmp_path: Path, before: dict[str, str], after: dict[str, str], said: list[str]
) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with reporting(tmp_path, webhooks=[{**before, "url": before["url"].format(address)}]) as (sink,):
        tell(sink, 1)
    with web_receiver(port) as posts, reporting(tmp_path, webhooks=[{**after, "url": after["url"].format(address)}]):
        wait_until(lambda: len(posts.bodies) == 2)  # and its end, for the program is not there any more
    assert keys(posts.records) == ["e1-0", "e1-1"]
    assert not any("does not name" in line for line in said)


def test_a_queue_of_an_earlier_version_of_the_program_is_delivered(tmp_path: Path) -> None:
    with web_receiver() as posts:
        url = f"{posts.url}?token=1"
        with sqlite3.connect(tmp_path / "events.db") as base:
            base.executescript("""
                CREATE TABLE waiting (
                    id INTEGER PRIMARY KEY AUTOINCREMENT,
                    receiver TEXT NOT NULL, camera TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL
                );
                CREATE TABLE going_on (
                    receiver TEXT, event TEXT, camera TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (receiver, event)
                );
                CREATE TABLE lost (receiver TEXT PRIMARY KEY, records INTEGER NOT NULL);
            """)
            row = (f"webhook {sha256(url.encode()).hexdigest()[:16]}", "door", "e1-0", b'{"type": "counts"}')
            base.execute("INSERT INTO waiting (receiver, camera, key, body) VALUES (?, ?, ?, ?)", row)
        base.close()
        with reporting(tmp_path, webhooks=[{"url": url}]):
            wait_until(lambda: len(posts.bodies) == 1)


def test_webhooks_that_differ_in_their_query_alone_get_each_its_own(tmp_path: Path) -> None:
    with web_receiver() as posts:
        hooks = [{"url": f"{posts.url}?to={number}"} for number in (1, 2)]
        with reporting(tmp_path, webhooks=hooks) as (first, second):
            tell(first, 1)
            tell(second, 2)
            wait_until(lambda: len(posts.bodies) == 2)
    assert sorted(keys(posts.records)) == ["e1-0", "e2-0"]


def test_what_waits_for_nobody_is_said_at_the_start_and_can_be_deleted(tmp_path: Path, said: list[str]) -> None:
    gone, here = ({"url": f"http://127.0.0.1:{free_port()}/{name}"} for name in ("gone", "here"))
    with reporting(tmp_path, webhooks=[gone, here]) as sinks:
        tell(sinks[0], 1)
        tell(sinks[0], 2)
    with reporting(tmp_path, webhooks=[here]):
        (line,) = [line for line in said if "does not name" in line]
        assert f"{tmp_path / 'events.db'}: 2 records wait for webhook 127.0.0.1 " in line
        assert "deleted after 30 days, or at once with --set events.unclaimed_days=0" in line
    with reporting(tmp_path):
        assert any(
            "2 records wait for webhook 127.0.0.1 " in line and "no receiver is named in this run" in line for line in said
        )
    with reporting(tmp_path, webhooks=[here], unclaimed_days=0):
        assert any("2 records for webhook 127.0.0.1 " in line and "are deleted" in line for line in said)
    said.clear()
    with reporting(tmp_path, webhooks=[here]):
        assert not any("does not name" in line for line in said)


@pytest.mark.parametrize(
    "hooks", [[{"url": "http://a/x"}] * 2, [{"url": "http://a/x", "name": "desk"}, {"url": "http://b/y", "name": "desk"}]]
)
def test_a_receiver_that_is_given_twice_is_refused(tmp_path: Path, hooks: list[dict[str, str]]) -> None:
    with pytest.raises(ConfigError, match=r"^events\.webhooks: webhook .* is given twice"), reporting(tmp_path, webhooks=hooks):
        pass
