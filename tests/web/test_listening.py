"""Where the dashboard listens: addresses, ports in use, TLS files that do not fit."""

import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

import httpx
import pytest

from maskstream.cli import parser
from maskstream.config.loading import Layer, load_config
from maskstream.config.schema import WebConfig
from maskstream.errors import ConfigError
from maskstream.web import listening, server
from maskstream.web.certificate_watch import CertificateWatch
from maskstream.web.listening import Listener, listen, parse_listen
from maskstream.web.tls import load_certificate
from tests.certificates import Authority
from tests.clocks import ManualClock
from tests.slowness import LONGEST_S
from tests.web.site import PASSWORD, running_site

LOGIN = "/api/v1/session"


def web(**settings: object) -> WebConfig:
    return load_config(None, [Layer("test", {"web": {"listen": "127.0.0.1:0", **settings}})]).web


def opened(**settings: object) -> Listener:
    """Open a port and close it again."""
    listener = listen(web(**settings))
    listener.socket.close()
    return listener


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory, system_tool: Callable[[str], str]) -> Authority:
    system_tool("openssl")
    return Authority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> str:
    return str(authority.server("site", "DNS:ward.example,IP:127.0.0.1"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8675", ("127.0.0.1", 8675)),
        ("8675", ("127.0.0.1", 8675)),
        ("[::1]:80", ("::1", 80)),
        ("ward.example:1", ("ward.example", 1)),
        (" localhost:0 ", ("localhost", 0)),
    ],
)
def test_addresses_are_read(text: str, expected: tuple[str, int]) -> None:
    assert parse_listen(text) == expected


def test_the_default_address_of_options_is_that_of_the_server() -> None:
    assert parser.DEFAULT_LISTEN == listening.DEFAULT_LISTEN


@pytest.mark.parametrize("text", ["127.0.0.1", "127.0.0.1:", ":8675", "127.0.0.1:65536", "::1:80", "http://a:1", "a:b", "a:-1"])
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected an address and a port, such as 127.0.0.1:8675") as refused:
        parse_listen(text)
    assert refused.value.exit_code == 2


def test_a_port_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"web.listen: 127.0.0.1:{port}: the port is in use by another program; choose"):
            listen(web(listen=f"127.0.0.1:{port}"))


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"web.listen: 192.0.2.1:8675: this machine does not have this address; give one of its own"
    ):
        listen(web(listen="192.0.2.1:8675", trusted_proxies=["10.0.0.0/8"]))


def test_a_host_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"web.listen: nobody.invalid:1: the host nobody.invalid is not known"):
        listen(web(listen="nobody.invalid:1"))


@pytest.mark.parametrize("listen_on", ["0.0.0.0:0", "[::]:0"])
def test_other_machines_are_let_in_with_tls_or_a_proxy_alone(listen_on: str, certificate: str) -> None:
    if listen_on.startswith("[") and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with pytest.raises(ConfigError, match=r"other machines could read passwords and images; set web.tls_certificate"):
        listen(web(listen=listen_on))
    listener = opened(listen=listen_on, tls_certificate=certificate, tls_key=certificate)
    assert listener.url == f"https://ward.example:{listener.port}"
    assert opened(listen=listen_on, trusted_proxies=["10.0.0.0/8"]).certificate is None


def test_headers_of_a_proxy_need_its_network_and_secret() -> None:
    for settings in ({}, {"trusted_proxies": ["10.0.0.0/8"]}, {"proxy_secret": "s"}):
        with pytest.raises(ConfigError, match=r"need web.trusted_proxies and web.proxy_secret"):
            listen(web(proxy_user_header="X-User", **settings))


@pytest.mark.parametrize("network", ["10.0.0.0/40", "proxy.example", "10.0.0.1/8"])
def test_networks_are_checked(network: str) -> None:
    with pytest.raises(ConfigError, match="expected an IP network or address"):
        web(trusted_proxies=[network])


def test_half_of_a_certificate_is_refused(certificate: str) -> None:
    with pytest.raises(ConfigError, match=r"web.tls_certificate and web.tls_key belong together; set both"):
        listen(web(tls_certificate=certificate))


def test_a_key_of_another_certificate_is_refused(authority: Authority, certificate: str) -> None:
    other = authority.server("other", "DNS:other.example").with_suffix(".key")
    with pytest.raises(ConfigError, match=f"web.tls_key: {other}: is not the key of {certificate}; give both files of one"):
        listen(web(tls_certificate=certificate, tls_key=str(other)))


def test_a_missing_file_is_named(certificate: str, tmp_path: Path) -> None:
    missing = str(tmp_path / "none.pem")
    with pytest.raises(ConfigError, match=f"web.tls_key: {missing}: cannot be read: No such file or directory; give a PEM file"):
        listen(web(tls_certificate=certificate, tls_key=missing))


def test_a_file_that_is_no_certificate_is_refused(tmp_path: Path, certificate: str) -> None:
    text = tmp_path / "text.pem"
    text.write_text("no certificate\n")
    for files in ({"tls_certificate": str(text), "tls_key": certificate}, {"tls_certificate": certificate, "tls_key": str(text)}):
        with pytest.raises(ConfigError, match="no PEM certificate with its key"):
            listen(web(**files))


def test_a_key_with_a_passphrase_is_refused_without_asking(certificate: str, tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    command = ["openssl", "pkey", "-in", certificate, "-aes256", "-passout", "pass:secret", "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(ConfigError, match=f"web.tls_key: {locked}: needs a passphrase; give a key without one"):
        listen(web(tls_certificate=certificate, tls_key=str(locked)))


def test_a_certificate_that_has_expired_is_refused(authority: Authority) -> None:
    expired = str(authority.server("expired", "IP:127.0.0.1", expired=True))
    with pytest.raises(ConfigError, match=f"web.tls_certificate: {expired}: has expired; renew it"):
        listen(web(tls_certificate=expired, tls_key=expired))


def test_a_certificate_that_expires_soon_is_a_warning(authority: Authority, certificate: str, said: list[str]) -> None:
    soon = str(authority.server("soon", "IP:127.0.0.1", days=13))
    assert opened(tls_certificate=soon, tls_key=soon).certificate is not None
    assert [line for line in said if line.startswith("WARNING") and f"{soon}: expires in 13 days, on 20" in line]
    said.clear()
    opened(tls_certificate=certificate, tls_key=certificate)
    assert said == []


@pytest.fixture(scope="module")
def trusting(authority: Authority, certificate: str) -> ssl.SSLContext:
    """Trusts the authority that has signed the certificate."""
    del certificate
    return ssl.create_default_context(cafile=str(authority.certificate))


def test_with_tls_the_cookie_and_the_site_are_for_https(certificate: str, trusting: ssl.SSLContext, tmp_path: Path) -> None:
    with running_site(tmp_path / "store", {"tls_certificate": certificate, "tls_key": certificate}) as site:
        assert site.url.startswith("https://127.0.0.1:")
        with httpx.Client(base_url=site.url, headers={"origin": site.url}, trust_env=False, verify=trusting) as browser:
            answer = browser.post(LOGIN, json={"name": "admin", "password": PASSWORD})
            assert answer.headers["set-cookie"].startswith("__Host-session=")
            assert "; Secure" in answer.headers["set-cookie"]
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
            assert browser.get(LOGIN).status_code == 200
            names = {"ward.example": 200, "other.example": 421}  # the first is in the certificate
            assert {name: browser.get(LOGIN, headers={"host": name}).status_code for name in names} == names


def test_a_renewed_certificate_is_loaded_while_the_dashboard_runs(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setattr(server, "CERTIFICATE_EVERY_S", 0.02)
    first, second = (authority.server(f"round{number}", "IP:127.0.0.1") for number in (1, 2))
    file = tmp_path / "site.pem"
    shutil.copy(first, file)

    def wait_for(text: str) -> None:
        until_s = monotonic() + LONGEST_S
        while not any(text in line for line in said):
            assert monotonic() < until_s
            sleep(0.01)

    with running_site(tmp_path / "store", {"tls_certificate": str(file), "tls_key": str(file)}) as site:
        host, _, port = site.host.partition(":")

        def served() -> str:
            return ssl.get_server_certificate((host, int(port))).strip()

        assert served() in first.read_text()
        file.write_text("half of a certificate")
        wait_for("no PEM certificate with its key")
        assert served() in first.read_text()
        shutil.copy(second, file)
        wait_for(f"INFO {file}: loaded again; valid until 20")
        assert served() in second.read_text()


def test_a_certificate_that_ends_during_a_long_run_is_a_warning_each_day(authority: Authority, said: list[str]) -> None:
    soon = str(authority.server("ending", "IP:127.0.0.1", days=13))
    clock = ManualClock()
    watch = CertificateWatch(web(tls_certificate=soon, tls_key=soon), load_certificate(soon, soon), clock)
    watch.check()
    assert said == []
    for day in (1, 2):
        clock.advance(86_400)
        watch.check()
        watch.check()
        assert len([line for line in said if "expires in 13 days" in line]) == day


def test_a_client_that_speaks_no_tls_harms_nobody(certificate: str, trusting: ssl.SSLContext, tmp_path: Path) -> None:
    with running_site(tmp_path / "store", {"tls_certificate": certificate, "tls_key": certificate}) as site:
        host, _, port = site.host.partition(":")
        with closing(socket.create_connection((host, int(port)))) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert not plain.recv(100).startswith(b"HTTP")
        assert httpx.get(site.url, trust_env=False, verify=trusting).status_code == 200
