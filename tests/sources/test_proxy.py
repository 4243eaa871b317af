"""Proxies of the environment: their errors are not reported as those of the camera."""

from contextlib import closing
from pathlib import Path

import pytest

from maskstream.config.loading import load_config
from maskstream.config.schema import NetworkConfig
from maskstream.errors import SourceOpenError
from maskstream.sources import UrlSource
from maskstream.sources.connection_errors import proxy_of
from tests.faulty_servers import Client, FaultyServer
from tests.ports import free_port
from tests.servers import content, http_server
from tests.video_files import every, write_video

ADVICE = "correct http_proxy, or add the camera's host to no_proxy"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def network() -> NetworkConfig:
    return NetworkConfig.model_validate(load_config().network.model_dump() | {"open_timeout_s": 2})


def refusal(url: str) -> str:
    with pytest.raises(SourceOpenError) as caught:
        UrlSource(url, network())
    assert "pr0xy-secret" not in str(caught.value)
    return str(caught.value).removeprefix(f"{url}: ")


@pytest.mark.parametrize("scheme", ["http", "https", "rtsps"])
def test_a_proxy_that_does_not_run(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("http_proxy", f"http://me:pr0xy-secret@{proxy}")
    assert refusal(f"{scheme}://camera.invalid/live") == (
        f"the proxy http://***@{proxy} (environment variable http_proxy) refused the connection; {ADVICE}"
    )


def test_a_proxy_whose_host_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://no-such-proxy.invalid:3128")
    assert "no-such-proxy.invalid:3128 (environment variable http_proxy) has a host that is not known; " in refusal(
        "http://127.0.0.1:1/live"
    )


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("status", "why"),
    [
        ("407 Proxy Authentication Required", "does not allow the connection (4xx)"),
        ("403 Forbidden", "does not allow the connection (4xx)"),
        ("503 Service Unavailable", "failed, or did not reach the camera (5xx)"),
    ],
)
def test_a_proxy_that_refuses(status: str, why: str, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(client: Client) -> None:
        client.send(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        raise ConnectionResetError

    with FaultyServer(refuse) as server:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.port}")
        assert why in refusal(f"{scheme}://camera.invalid/live")
    assert server.requests[0].split()[0] == ("GET" if scheme == "http" else "CONNECT")


def test_a_proxy_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    def silence(client: Client) -> None:
        client.trickle(b"")

    with FaultyServer(silence) as server:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.port}")
        said = refusal("http://camera.invalid/live")
    assert "no frame within 2 s" in said
    assert f"through the proxy http://127.0.0.1:{server.port} (environment variable http_proxy)" in said


def test_errors_of_the_camera_do_not_mention_the_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_video(tmp_path / "clip.mp4", every(0.04, 5), size=(160, 120))
    with http_server({"/clip.mp4": content(clip.read_bytes(), "video/mp4")}) as address:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
        monkeypatch.setenv("no_proxy", "example.org, 127.0.0.1")
        with closing(UrlSource(f"{address}/clip.mp4", network())) as source:
            assert len(list(source)) == 5
        assert "(404)" in refusal(f"{address}/none")
        assert "proxy" not in refusal(f"{address}/none")


@pytest.mark.parametrize(
    ("exempt", "host", "goes_through"),
    [
        ("", "cam", True),
        ("*", "cam", False),
        ("cam", "cam", False),
        ("other cam", "cam", False),
        ("example.org", "cam.example.org", False),
        (".example.org", "cam.example.org", False),
        ("*.example.org,x", "cam.example.org", False),
        ("example.org", "camexample.org", True),
        ("cam.example.org", "example.org", True),
    ],
)
def test_hosts_that_are_exempt(exempt: str, host: str, goes_through: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", exempt)
    assert proxy_of(f"http://{host}/x") == ("http://proxy:3128" if goes_through else None)
    assert proxy_of(f"rtsp://{host}/x") is None
