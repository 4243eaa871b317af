"""Publish to a real broker."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep

import pytest

from maskstream.errors import ConfigError
from maskstream.events.delivery import Delivery
from maskstream.events.mqtt import Mqtt
from maskstream.events.mqtt_broker import topic_level
from maskstream.events.outbox import Outbox
from maskstream.events.types import MinuteCounts, Phase
from maskstream.stream.states import SourceState, StateChange
from maskstream.types import Label
from tests.events.test_delivery import NOW, event
from tests.ports import free_port
from tests.receivers import broker, old_broker_in_front, subscriber, wait_until

EVENTS, COUNTS, STATUS = (f"maskstream/door/{kind}" for kind in ("events", "counts", "status"))


@contextmanager
def delivery(folder: Path, port: int, login: str = "") -> Iterator[Delivery]:
    made = Delivery(Mqtt(f"mqtt://{login}127.0.0.1:{port}"), Outbox(str(folder / "events.db"), 1_000_000))
    try:
        yield made
    finally:
        made.close()


def change(state: SourceState, source_id: str = "door") -> StateChange:
    return StateChange(source_id, state, None, "test", monotonic(), datetime.now(UTC))


@pytest.fixture
def mosquitto(system_tool: Callable[[str], str]) -> str:
    return system_tool("mosquitto")


def test_events_counts_and_states_are_published(tmp_path: Path, mosquitto: str) -> None:
    port = free_port()
    with broker(mosquitto, tmp_path, port), subscriber(port) as heard:
        with delivery(tmp_path, port) as sent:
            sent.state_changed(change(SourceState.CONNECTING))
            sent.take([event(1), MinuteCounts("door", NOW, NOW, dict.fromkeys(Label, 1), dict.fromkeys(Label, 2.0))])
            sent.take([event(1, Phase.END, 1)])
            wait_until(lambda: len(heard.on(EVENTS)) == 2 and len(heard.on(COUNTS)) == 1)
            sent.state_changed(change(SourceState.ONLINE))
            wait_until(lambda: heard.on(STATUS)[-1:] == ["online"])
            sent.state_changed(change(SourceState.RECONNECTING))
            wait_until(lambda: heard.on(STATUS)[-1:] == ["offline"])
            sent.state_changed(change(SourceState.ONLINE))
            wait_until(lambda: heard.on(STATUS)[-1:] == ["online"])
        wait_until(lambda: heard.on(STATUS)[-1:] == ["offline"])
    assert [(record["event_id"], record["sequence"]) for record in heard.records(EVENTS)] == [("e1", 0), ("e1", 1)]
    assert not any(retained for topic, _, retained in heard.messages if topic != STATUS)


def test_a_later_subscriber_gets_the_state(tmp_path: Path, mosquitto: str) -> None:
    port = free_port()
    with broker(mosquitto, tmp_path, port), delivery(tmp_path, port) as sent:
        sent.state_changed(change(SourceState.ONLINE))
        sent.state_changed(change(SourceState.ONLINE, "lab/2"))
        with subscriber(port) as first:
            wait_until(lambda: len(first.messages) >= 2)
        with subscriber(port) as later:
            wait_until(lambda: len(later.messages) == 2)
    assert sorted(later.messages) == [(STATUS, "online", True), ("maskstream/lab%2F2/status", "online", True)]


@pytest.mark.slow
def test_a_broker_that_was_down_gets_all_events(tmp_path: Path, mosquitto: str) -> None:
    """It is killed twice, once while the program is connected, and is down for 2 s."""
    port = free_port()
    number = 0
    with broker(mosquitto, tmp_path, port) as first, subscriber(port) as heard, delivery(tmp_path, port) as sent:
        sent.state_changed(change(SourceState.ONLINE))
        sent.take([event(number)])
        wait_until(lambda: len(heard.on(EVENTS)) == 1)
        for _ in range(2):
            first.kill()
            first.wait()
            for _ in range(20):
                number += 1
                sent.take([event(number)])
                sleep(0.1)
            with broker(mosquitto, tmp_path, port) as again:
                number += 1
                sent.take([event(number)])
                expected = {f"e{each}" for each in range(number + 1)}
                wait_until(lambda expected=expected: expected <= {each["event_id"] for each in heard.records(EVENTS)})
                wait_until(lambda: heard.on(STATUS)[-1:] == ["online"])
                first = again


def test_users_and_passwords(tmp_path: Path, mosquitto: str, said: list[str]) -> None:
    port = free_port()
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "cam", "p@ss/word"], check=True, capture_output=True)
    settings = ("allow_anonymous false", f"password_file {passwords}")
    with broker(mosquitto, tmp_path, port, *settings), subscriber(port, login=("cam", "p@ss/word")) as heard:
        with delivery(tmp_path, port, "cam:p%40ss%2Fword@") as sent:
            sent.take([event(1)])
            wait_until(lambda: len(heard.on(EVENTS)) == 1)
        other = tmp_path / "other"
        other.mkdir()
        with delivery(other, port, "cam:wrong@") as sent:
            sent.take([event(2)])
            wait_until(lambda: any("refuses the connection (" in line and "check user and password" in line for line in said))
    assert [record["event_id"] for record in heard.records(EVENTS)] == ["e1"]
    assert not any("wrong" in line for line in said)


@pytest.mark.parametrize("url", ["http://host", "host:1883", "mqtt://", "mqtt://host:port", "mqtt://host/topic"])
def test_an_invalid_broker_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"events\.mqtt"):
        Mqtt(url)


def test_the_name_of_a_camera_is_one_topic_level() -> None:
    names = ["door", "a/b", "a%2Fb", "a+b", "#", "küche 1", "nul\0"]
    levels = [topic_level(name) for name in names]
    assert levels == ["door", "a%2Fb", "a%252Fb", "a%2Bb", "%23", "küche 1", "nul%00"]


def acl(folder: Path, *rules: str) -> str:
    path = folder / "acl"
    path.write_text("\n".join([*rules, ""]))
    path.chmod(0o600)
    return f"acl_file {path}"


def test_refused_records_are_kept_and_logged(tmp_path: Path, mosquitto: str, said: list[str]) -> None:
    """At first no client may publish; after a restart every client may."""
    port = free_port()
    with (
        broker(mosquitto, tmp_path, port, "allow_anonymous true", acl(tmp_path, "topic read #")) as refusing,
        delivery(tmp_path, port) as sent,
    ):
        sent.take([event(1), event(2)])
        wait_until(lambda: any("the broker refuses maskstream/door/events (Not authorized)" in line for line in said))
        assert "2 events wait: the broker refuses maskstream/door/events" in sent.health()
        refusing.kill()
        refusing.wait()
        with broker(mosquitto, tmp_path, port) as _, subscriber(port) as heard:
            wait_until(lambda: len(heard.on(EVENTS)) >= 2)
            wait_until(lambda: sent.health() == "")
    assert [record["event_id"] for record in heard.records(EVENTS)] == ["e1", "e2"]


def test_a_refused_topic_does_not_delay_others(tmp_path: Path, mosquitto: str, said: list[str]) -> None:
    port = free_port()
    rules = ("topic read #", "topic readwrite maskstream/+/events", "topic readwrite maskstream/lab/#")
    settings = ("allow_anonymous true", acl(tmp_path, *rules))
    with broker(mosquitto, tmp_path, port, *settings), subscriber(port) as heard, delivery(tmp_path, port) as sent:
        sent.state_changed(change(SourceState.ONLINE))
        sent.take([MinuteCounts("door", NOW, NOW, dict.fromkeys(Label, 1), dict.fromkeys(Label, 2.0)), event(1)])
        wait_until(lambda: len(heard.on(EVENTS)) == 1)
        sent.take([event(2), event(3, source_id="lab")])
        wait_until(lambda: len(heard.on(EVENTS)) == 2 and len(heard.on("maskstream/lab/events")) == 1)
        waiting = "1 event wait: the broker refuses maskstream/door/counts"
        wait_until(lambda: waiting in sent.health())  # the sender may not have seen the last acknowledgement yet
        wait_until(lambda: any("the broker refuses maskstream/door/status" in line for line in said))
    assert any("1 records wait in" in line for line in said)


@pytest.mark.parametrize("answer", [b"\x20\x02\x00\x01", b""], ids=["refused", "closed without an answer"])
def test_a_broker_without_mqtt_5_gets_mqtt_3(tmp_path: Path, mosquitto: str, said: list[str], answer: bytes) -> None:
    port = free_port()
    with broker(mosquitto, tmp_path, port), subscriber(port) as heard, old_broker_in_front(port, answer) as old:
        with delivery(tmp_path, old) as sent:
            sent.state_changed(change(SourceState.ONLINE))
            sent.take([event(1), event(2, source_id="lab")])
            wait_until(lambda: len(heard.on(EVENTS)) == 1 and len(heard.on("maskstream/lab/events")) == 1)
            wait_until(lambda: heard.on(STATUS)[-1:] == ["online"])
        wait_until(lambda: heard.on(STATUS)[-1:] == ["offline"])
    assert sum("supports only MQTT 3.1.1" in line for line in said) == 1


def test_a_record_that_is_too_large_for_the_broker_is_discarded_and_logged(
    tmp_path: Path, mosquitto: str, said: list[str]
) -> None:
    port = free_port()
    settings = ("allow_anonymous true", "max_packet_size 2000")
    with broker(mosquitto, tmp_path, port, *settings), subscriber(port) as heard, delivery(tmp_path, port) as sent:
        large = replace(event(1), zone="z" * 2000)
        sent.take([large, event(2)])
        wait_until(lambda: len(heard.on(EVENTS)) == 1)
    assert [record["event_id"] for record in heard.records(EVENTS)] == ["e2"]
    assert any("record e1-0 is discarded: the broker accepts at most 2000 bytes" in line for line in said)


def test_a_port_without_mqtt_is_reported(tmp_path: Path, said: list[str]) -> None:
    with old_broker_in_front(free_port(), b"") as closing, delivery(tmp_path, closing) as sent:
        sent.take([event(1)])
        wait_until(lambda: any("without an answer; check that the port speaks MQTT" in line for line in said))
        assert "1 event wait" in sent.health()


def test_no_thread_connects_after_close(mosquitto: str) -> None:
    """On a port without a server, and where the server closes the connection at once, so that another version is tried."""
    transports = [Mqtt(f"mqtt://127.0.0.1:{free_port()}") for _ in range(5)]
    with old_broker_in_front(free_port(), b"") as closing:
        transports += [Mqtt(f"mqtt://127.0.0.1:{closing}") for _ in range(5)]
        for transport in transports:
            transport.state_changed(change(SourceState.ONLINE))
        for transport in transports:
            transport.close()
        wait_until(lambda: not any(each.name.startswith("paho-mqtt-client-maskstream") for each in threading.enumerate()))
