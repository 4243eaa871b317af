"""Brokers and web servers are reached, or the reason is given; nothing is published or posted."""

from collections.abc import Callable
from pathlib import Path

import pytest

from maskstream.events.mqtt_broker import Broker
from maskstream.events.reachability import broker_problem, webhook_problem
from tests.certificates import Authority
from tests.ports import free_port
from tests.receivers import broker, old_broker_in_front, subscriber, web_receiver
from tests.servers import http_server, silent_server, status


def problem_at(address: str, ca_file: str | None = None) -> str:
    return broker_problem(Broker.of(address, ca_file), limit_s=0.2)


def test_a_broker_without_mqtt_5_is_asked_again(tmp_path: Path, system_tool: Callable[[str], str]) -> None:
    port = free_port()
    with broker(system_tool("mosquitto"), tmp_path, port), subscriber(port) as heard:
        for answer in (b"\x20\x02\x00\x01", b""):  # it refuses the version, or just closes the connection
            with old_broker_in_front(port, answer) as old:
                assert broker_problem(Broker.of(f"mqtt://127.0.0.1:{old}", None)) == ""
        assert heard.messages == []


def test_what_is_no_broker() -> None:
    with silent_server() as address:
        assert "does not answer; check that the port speaks MQTT" in problem_at(f"mqtt://{address}")
        assert "no answer in time" in problem_at(f"mqtts://{address}")
    with http_server({"/": status(200)}) as url:
        assert "does not answer; check that the port speaks MQTT" in problem_at(url.replace("http", "mqtt"))
    assert "the host is not known" in problem_at("mqtt://nowhere.invalid")
    assert "the connection was refused" in problem_at(f"mqtt://127.0.0.1:{free_port()}")


def test_certificates_of_a_web_server(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "tls")
    ca_file = str(authority.certificate)
    with web_receiver(certificate=authority.server("server", "IP:127.0.0.1")) as posts:
        assert webhook_problem(posts.url, ca_file) == ""
        assert "its certificate is not trusted" in webhook_problem(posts.url, None)
        assert posts.asked == []
    with web_receiver(certificate=authority.server("old", "IP:127.0.0.1", expired=True)) as posts:
        assert "its certificate has expired" in webhook_problem(posts.url, ca_file)


def test_a_proxy_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert webhook_problem("http://hooks.invalid/x", None) == ""
