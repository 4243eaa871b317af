"""Why nothing is delivered, and what to do, as real receivers let us find out."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from maskstream.errors import ConfigError
from maskstream.events.delivery import NotDelivered
from maskstream.events.endpoints import trusting, why
from maskstream.events.messages import QueuedMessage
from maskstream.events.mqtt import Mqtt
from maskstream.events.webhook import Webhook
from tests.receivers import Authority, answers, authority, broker, free_port, subscriber, wait_until, web_receiver

LETTER = QueuedMessage("door", "e1-0", b"{}")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory, system_tool: Callable[[str], str]) -> Authority:
    system_tool("openssl")
    return authority(tmp_path_factory.mktemp("authority"))


@contextmanager
def running(port: int) -> Iterator[None]:
    """Wait for a second port of a broker."""
    wait_until(lambda: answers(port))
    yield


def reason(transport: Webhook | Mqtt) -> str:
    """Return why a letter is not delivered."""
    try:
        with pytest.raises(NotDelivered) as caught:
            transport.send(LETTER)
    finally:
        transport.close()
        wait_until(lambda: not any(each.name.startswith("paho-mqtt-client-maskstream") for each in threading.enumerate()))
    return str(caught.value)


def test_a_web_server_with_a_certificate_of_our_own_authority(ours: Authority) -> None:
    with web_receiver(certificate=ours.server) as posts:
        assert reason(Webhook(posts.url, None)) == (
            "its certificate is not trusted (unable to get local issuer certificate); "
            "set events.ca_file to the certificate of its CA"
        )
        hook = Webhook(posts.url, None, ca_file=str(ours.ca))
        hook.send(LETTER)
        hook.close()
        pinned = Webhook(posts.url, None, ca_file=str(ours.server))
        pinned.send(LETTER)
        pinned.close()
    assert len(posts.bodies) == 2


@pytest.mark.parametrize(
    ("which", "said"),
    [("elsewhere", "its certificate is for another name; use the name"), ("expired", "its certificate has expired; renew it")],
)
def test_a_certificate_that_does_not_fit_is_told_from_one_that_nobody_knows(ours: Authority, which: str, said: str) -> None:
    with web_receiver(certificate=getattr(ours, which)) as posts:
        assert said in reason(Webhook(posts.url, None, ca_file=str(ours.ca)))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves sockets to the garbage collector
def test_a_broker_with_a_certificate_of_our_own_authority(
    ours: Authority, tmp_path: Path, system_tool: Callable[[str], str], said: list[str]
) -> None:
    port, plain = free_port(), free_port()
    tls = (f"cafile {ours.ca}", f"certfile {ours.server}", f"keyfile {ours.server}")
    settings = (*tls, "allow_anonymous true", f"listener {plain} 127.0.0.1")
    with broker(system_tool("mosquitto"), tmp_path, port, *settings), running(plain), subscriber(plain) as heard:
        assert "its certificate is not trusted (self-signed certificate in certificate chain)" in reason(
            Mqtt(f"mqtts://127.0.0.1:{port}")
        )
        assert any("no connection: its certificate is not trusted" in line for line in said)
        trusted = Mqtt(f"mqtts://127.0.0.1:{port}", ca_file=str(ours.ca))
        trusted.send(LETTER)
        trusted.close()
        wait_until(lambda: heard.on("maskstream/door/events") == ["{}"])


@pytest.mark.parametrize("scheme", ["http", "https", "mqtt", "mqtts"])
@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("nowhere.invalid:1", "the host is not known; check its name"),
        ("127.0.0.1:{free}", "the connection was refused; check host and port"),
    ],
)
def test_hosts_that_are_not_known_and_ports_that_are_closed(scheme: str, host: str, said: str) -> None:
    url = f"{scheme}://{host.format(free=free_port())}"
    assert said in reason(Mqtt(url) if scheme.startswith("mqtt") else Webhook(url, None))


def test_a_port_without_tls_is_told(ours: Authority) -> None:
    with web_receiver() as posts:
        assert "TLS could not be agreed on" in reason(Webhook(posts.url.replace("http:", "https:"), None))


def test_a_proxy_is_named_with_the_variable_that_says_so_and_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", f"http://me:s3cret@127.0.0.1:{port}")
        text = reason(Webhook(f"{scheme}://hooks.example.com/x", None))
        assert text == (
            f"the proxy 127.0.0.1:{port} ({scheme}_proxy in the environment): the connection was refused; check host and port, "
            "and that the receiver is running; or let no_proxy name hooks.example.com"
        )
    with web_receiver() as posts:
        posts.answers.append(407)
        monkeypatch.setenv("http_proxy", posts.url)
        text = reason(Webhook("http://hooks.example.com/x", None))
    assert text.startswith("it answers 407 Proxy Authentication Required; the proxy wants a user and a password")
    assert "asked through the proxy 127.0.0.1:" in text
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert "proxy" not in reason(Webhook(f"http://127.0.0.1:{port}/x", None))


def test_causes_are_found_however_they_are_wrapped() -> None:
    assert why(TimeoutError()) == why(requests.ConnectTimeout(ValueError(TimeoutError())))
    assert "closed" in why(requests.ConnectionError("x", ConnectionResetError()))
    assert "no network leads there" in why(OSError(113, "No route to host"))
    assert why(ZeroDivisionError()) == "ZeroDivisionError"
    circle = ValueError()
    circle.__context__ = KeyError(circle)
    assert why(circle) == "ValueError"
    assert "TLS could not be agreed on (no reason given)" in why(ssl.SSLError())


@pytest.mark.parametrize(("content", "said"), [(None, "No such file or directory"), ("no PEM", "it holds no certificate")])
def test_a_file_of_certificates_that_cannot_be_used_is_said_at_once(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=rf"^events\.ca_file: {path}: {said}; give a PEM file"):
        trusting(str(path))


@pytest.mark.parametrize("host", ["hooks..example.com", "a" * 64 + ".com"])
def test_what_can_be_no_host_is_refused_at_once(host: str) -> None:
    with pytest.raises(ConfigError, match="is no name of a host"):
        Webhook(f"https://{host}/x", None)
    with pytest.raises(ConfigError, match="is no name of a host"):
        Mqtt(f"mqtt://{host}")
