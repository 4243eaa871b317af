"""Load the certificate of the dashboard, and check that its key fits and when it expires."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from loguru import logger

from maskstream.errors import ConfigError
from maskstream.io.certificates import Fault, fault_of
from maskstream.io.user_folders import expand_home

WARN_DAYS: Final = 14


@dataclass(frozen=True)
class Certificate:
    """A certificate that fits its key."""

    context: ssl.SSLContext
    """For a server."""
    expires: datetime
    """UTC."""
    names: tuple[str, ...]
    """The host names and addresses in it, in lower case."""

    @property
    def days_left(self) -> float:
        """The time until it expires."""
        return (self.expires - datetime.now(UTC)).total_seconds() / 86400


def warn_before_end(path: str, certificate: Certificate) -> None:
    """Log a warning for a certificate that expires within 14 days."""
    if certificate.days_left < WARN_DAYS:
        logger.warning(
            "web.tls_certificate: {}: expires in {:.0f} days, on {:%Y-%m-%d}; renew it",
            path,
            certificate.days_left,
            certificate.expires,
        )


def load_certificate(certificate: str, key: str) -> Certificate:
    """Load a certificate and its key.

    Args:
        certificate: A PEM file, the certificate of the server first.
        key: A PEM file without a passphrase.

    Raises:
        ConfigError: A file cannot be read, they do not fit, or the certificate is not valid now.
    """
    certificate, key = expand_home(certificate), expand_home(key)
    for setting, path in (("web.tls_certificate", certificate), ("web.tls_key", key)):
        try:
            with open(path, "rb"):  # noqa: PTH123 (the error of ssl does not name the file)
                pass
        except OSError as error:
            raise ConfigError(f"{setting}: {path}: cannot be read: {error.strerror}; give a PEM file") from error

    def no_passphrase() -> NoReturn:
        raise ConfigError(f"web.tls_key: {key}: needs a passphrase; give a key without one (openssl pkey -in KEY -out FILE)")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, no_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(
                f"web.tls_key: {key}: is not the key of {certificate}; give both files of one certificate"
            ) from error
        raise ConfigError(
            f"web.tls_certificate: {certificate}, {key}: no PEM certificate with its key ({error.reason})"
        ) from error
    found = _presented(context, certificate)
    expires = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(found["notAfter"])), UTC)
    names = tuple(str(value).lower() for _, value in found.get("subjectAltName", ()))
    return Certificate(context, expires, names)


def _presented(server: ssl.SSLContext, path: str) -> dict[str, Any]:
    """Return the fields of the certificate that a server presents, by a handshake in memory that trusts just that certificate.

    Raises:
        ConfigError: The certificate is not valid now.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(path)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True))
    try:
        for _ in range(3):  # flights of messages
            for end in ends:
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    continue
    except ssl.SSLCertVerificationError as error:
        if fault_of(error) is Fault.EXPIRED:
            raise ConfigError(f"web.tls_certificate: {path}: has expired; renew it") from error
        if fault_of(error) is Fault.NOT_YET_VALID:
            raise ConfigError(f"web.tls_certificate: {path}: is not valid yet; check the clock of this machine") from error
        raise ConfigError(f"web.tls_certificate: {path}: {error.verify_message}; give a certificate for a server") from error
    return dict(ends[0].getpeercert() or {})
