"""Certificates of sources: real servers with certificates of all kinds."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from maskstream.config.loading import Layer, load_config
from maskstream.config.schema import NetworkConfig
from maskstream.errors import ConfigError, SourceRefused
from maskstream.sources import UrlOpener, UrlSource
from tests.certificates import Authority, self_signed
from tests.conftest import DEMO
from tests.servers import content, http_server, rtsp_server, status
from tests.video_files import every, write_video

OF_THIS_HOST = "IP:127.0.0.1"
SIZE = (160, 120)
FRAMES = 25


def network(**settings: object) -> NetworkConfig:
    return NetworkConfig.model_validate(load_config().network.model_dump() | {"max_reconnects": 0} | settings)


@dataclass(frozen=True)
class Servers:
    """URLs of web servers by the kind of their certificate, and the trusted file."""

    addresses: dict[str, str]
    authority: str
    own: str
    """The self-signed certificate of a server."""

    def url(self, name: str) -> str:
        return f"{self.addresses[name]}/clip.mp4"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, system_tool: Callable[[str], str]) -> Iterator[Servers]:
    system_tool("openssl")
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority.make(folder)
    certificates = {
        "good": authority.server("good", OF_THIS_HOST),
        "expired": authority.server("expired", OF_THIS_HOST, expired=True),
        "other host": authority.server("other", "DNS:camera.example"),
        "own": self_signed(folder / "own.pem"),
    }
    clip = write_video(folder / "clip.mp4", every(0.04, FRAMES), size=SIZE)
    answers = {"/clip.mp4": content(clip.read_bytes(), "video/mp4"), "/403": status(403)}
    with ExitStack() as running:
        addresses = {name: running.enter_context(http_server(answers, certificate)) for name, certificate in certificates.items()}
        addresses["plain"] = running.enter_context(http_server(answers)).replace("http", "https")
        yield Servers(addresses, str(authority.certificate), str(folder / "own.crt"))


def frames(url: str, config: NetworkConfig) -> int:
    with closing(UrlSource(url, config)) as source:
        return len(list(source))


def refusal(url: str, config: NetworkConfig) -> str:
    with pytest.raises(SourceRefused) as caught:
        UrlSource(url, config)
    return str(caught.value).removeprefix(f"{url}: ")


def test_https_is_checked_by_default(servers: Servers) -> None:
    assert frames(servers.url("good"), network(ca_file=servers.authority)) == FRAMES
    for name in servers.addresses.keys() - {"plain"}:
        assert frames(servers.url(name), network(verify_tls=False)) == FRAMES


@pytest.mark.parametrize("verify", ["auto", True])
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("expired", "its certificate has expired; renew it, or set network.verify_tls to false"),
        ("other host", "its certificate is for another host than 127.0.0.1; "),
        (
            "own",
            "its certificate is not trusted (self-signed certificate); set network.ca_file to the certificate of its issuer",
        ),
        ("plain", "the encryption failed (wrong version number); check the port and the camera"),
    ],
)
def test_the_fault_of_a_certificate_is_reported(servers: Servers, name: str, why: str, verify: object) -> None:
    assert why in refusal(servers.url(name), network(ca_file=servers.authority, verify_tls=verify))


def test_an_authority_that_the_system_does_not_trust(servers: Servers) -> None:
    assert "not trusted (unable to get local issuer certificate)" in refusal(servers.url("good"), network())


def test_a_self_signed_certificate_can_be_trusted(servers: Servers) -> None:
    assert frames(servers.url("own"), network(ca_file=servers.own)) == FRAMES
    assert "not trusted" in refusal(servers.url("good"), network(ca_file=servers.own))


def test_other_errors_do_not_mention_the_certificate(servers: Servers) -> None:
    url = f"{servers.addresses['good']}/403"
    assert "(403)" in refusal(url, network(ca_file=servers.authority))


@pytest.mark.parametrize(
    ("name", "why"), [("none.pem", "No such file or directory"), ("empty.pem", "contains no certificate"), ("", "Is a directory")]
)
def test_a_file_of_authorities_that_cannot_be_used(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "empty.pem").write_text("nothing\n")
    path = str(tmp_path / name)
    assert refusal("https://127.0.0.1:1/x", network(ca_file=path)) == (
        f"network.ca_file: {path}: {why}; give a PEM file with certificates"
    )


def test_segments_of_a_playlist_are_checked_too(servers: Servers, tmp_path: Path, warnings_logged: list[str]) -> None:
    authority = Authority.make(tmp_path)
    head = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n"
    answers = {"/live.m3u8": content(f"{head}{servers.url('own')}\n#EXT-X-ENDLIST\n".encode(), "application/x-mpegurl")}
    with http_server(answers, authority.server("lists", OF_THIS_HOST)) as address:
        refusal(f"{address}/live.m3u8", network(ca_file=str(authority.certificate)))
    (line,) = warnings_logged
    assert f"{servers.url('own')}: its certificate is not trusted" in line


def test_a_camera_with_a_self_signed_certificate(rtsp_tools: None, tmp_path: Path, warnings_logged: list[str]) -> None:
    """It is read with one warning for all connections. If certificates are checked, it must be trusted."""
    with rtsp_server(DEMO, certificate=self_signed(tmp_path / "own.pem")) as camera:
        assert camera.url().startswith("rtsps://")
        opener = UrlOpener(camera.url(), "cam", network())
        for _ in range(2):
            opener().close()
        assert "not trusted (self-signed certificate)" in refusal(camera.url(), network(verify_tls=True))
        UrlSource(camera.url(), network(verify_tls=True, ca_file=str(tmp_path / "own.crt"))).close()
    assert [line.partition(";")[0] for line in warnings_logged] == ["cam: its certificate is not checked"]


def test_invalid_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"network.verify_tls: 'sometimes' is not allowed"):
        load_config(layers=[Layer.of_assignment("network.verify_tls=sometimes")])
