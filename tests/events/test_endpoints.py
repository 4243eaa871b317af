"""Why nothing is delivered, and what to do, measured with real receivers."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from maskstream.errors import ConfigError
from maskstream.events.delivery import NotDelivered
from maskstream.events.endpoints import explain_failure, tls_context
from maskstream.events.messages import QueuedMessage
from maskstream.events.mqtt import Mqtt
from maskstream.events.webhook import Webhook
from tests.ports import free_port
from tests.receivers import Authority, answers, authority, broker, subscriber, wait_until, web_receiver

MESSAGE = QueuedMessage("door", "e1-0", b"{}")


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
    """Return why a message is not delivered."""
    try:
        with pytest.raises(NotDelivered) as caught:
            transport.send(MESSAGE)
    finally:
        transport.close()
        wait_until(lambda: not any(each.name.startswith("paho-mqtt-client-maskstream") for each in threading.enumerate()))
    return str(caught.value)


def test_a_web_server_with_a_certificate_of_a_private_authority(ours: Authority) -> None:
    with web_receiver(certificate=ours.server) as posts:
        assert reason(Webhook(posts.url, None)) == (
            "its certificate is not trusted (unable to get local issuer certificate); "
            "set events.ca_file to the certificate of its CA"
        )
        hook = Webhook(posts.url, None, ca_file=str(ours.ca))
        hook.send(MESSAGE)
        hook.close()
        pinned = Webhook(posts.url, None, ca_file=str(ours.server))
        pinned.send(MESSAGE)
        pinned.close()
    assert len(posts.bodies) == 2


@pytest.mark.parametrize(
    ("which", "said"),
    [("elsewhere", "its certificate is for another name; use the name"), ("expired", "its certificate has expired; renew it")],
)
def test_a_wrong_or_expired_certificate_has_its_own_message(ours: Authority, which: str, said: str) -> None:
    with web_receiver(certificate=getattr(ours, which)) as posts:
        assert said in reason(Webhook(posts.url, None, ca_file=str(ours.ca)))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves sockets to the garbage collector
def test_a_broker_with_a_certificate_of_a_private_authority(
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
        trusted.send(MESSAGE)
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
def test_unknown_hosts_and_closed_ports(scheme: str, host: str, said: str) -> None:
    url = f"{scheme}://{host.format(free=free_port())}"
    assert said in reason(Mqtt(url) if scheme.startswith("mqtt") else Webhook(url, None))


def test_a_port_without_tls_is_reported(ours: Authority) -> None:
    with web_receiver() as posts:
        assert "the TLS handshake failed" in reason(Webhook(posts.url.replace("http:", "https:"), None))


def test_a_failure_names_the_proxy_and_its_variable_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", f"http://me:s3cret@127.0.0.1:{port}")
        text = reason(Webhook(f"{scheme}://hooks.example.com/x", None))
        assert text == (
            f"the proxy 127.0.0.1:{port} ({scheme}_proxy in the environment): the connection was refused; check host and port, "
            "and that the receiver is running; or add hooks.example.com to no_proxy"
        )
    with web_receiver() as posts:
        posts.answers.append(407)
        monkeypatch.setenv("http_proxy", posts.url)
        text = reason(Webhook("http://hooks.example.com/x", None))
    assert text.startswith("it answers 407 Proxy Authentication Required; the proxy requires a user and a password")
    assert "sent through the proxy 127.0.0.1:" in text
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert "proxy" not in reason(Webhook(f"http://127.0.0.1:{port}/x", None))


def test_wrapped_causes_are_found() -> None:
    assert explain_failure(TimeoutError()) == explain_failure(requests.ConnectTimeout(ValueError(TimeoutError())))
    assert "closed" in explain_failure(requests.ConnectionError("x", ConnectionResetError()))
    assert "no route to the host" in explain_failure(OSError(113, "No route to host"))
    assert explain_failure(ZeroDivisionError()) == "ZeroDivisionError"
    circle = ValueError()
    circle.__context__ = KeyError(circle)
    assert explain_failure(circle) == "ValueError"
    assert "the TLS handshake failed (no reason given)" in explain_failure(ssl.SSLError())


@pytest.mark.parametrize(("content", "said"), [(None, "No such file or directory"), ("no PEM", "it contains no certificate")])
def test_an_unusable_ca_file_is_reported_at_once(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=rf"^events\.ca_file: {path}: {said}; give a PEM file"):
        tls_context(str(path))


@pytest.mark.parametrize("host", ["hooks..example.com", "a" * 64 + ".com"])
def test_text_that_cannot_be_a_host_name_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="is not a host name"):
        Webhook(f"https://{host}/x", None)
    with pytest.raises(ConfigError, match="is not a host name"):
        Mqtt(f"mqtt://{host}")
