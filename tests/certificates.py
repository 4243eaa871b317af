"""Certificates for tests of encrypted connections, made by openssl."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_EXPIRED_DAYS = -1


@dataclass(frozen=True)
class Authority:
    """Signs the certificates of servers."""

    folder: Path

    @property
    def certificate(self) -> Path:
        """What those who trust it are given."""
        return self.folder / "authority.crt"

    @classmethod
    def make(cls, folder: Path) -> "Authority":
        folder.mkdir(exist_ok=True)
        made = cls(folder)
        is_one = ("-addext", "basicConstraints=critical,CA:TRUE")
        _openssl("req", "-x509", *_KEY, "-subj", "/CN=an authority", *is_one, "-keyout", made._key, "-out", made.certificate)
        return made

    @property
    def _key(self) -> Path:
        return self.folder / "authority.key"

    def server(self, name: str, host: str, *, expired: bool = False, days: int = 30) -> Path:
        """Return a file with a new certificate and its key.

        Args:
            name: Of the file.
            host: Whose it is, such as `IP:127.0.0.1` or `DNS:camera.example`.
            expired: Whether its time is over.
            days: How long it is valid.
        """
        key, asked, given, extension = (self.folder / f"{name}.{suffix}" for suffix in ("key", "csr", "crt", "ext"))
        extension.write_text(f"subjectAltName={host}\n")
        _openssl("req", *_KEY, "-subj", "/CN=camera", "-keyout", key, "-out", asked)
        signed_by = ("-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial")
        valid = str(_EXPIRED_DAYS if expired else days)
        _openssl("x509", "-req", "-in", asked, *signed_by, "-days", valid, "-extfile", extension, "-out", given)
        both = self.folder / f"{name}.pem"
        both.write_bytes(given.read_bytes() + key.read_bytes())
        return both


def self_signed(path: Path) -> Path:
    """Write a certificate of its own making, as cameras have, and its key."""
    certificate = path.with_suffix(".crt")
    _openssl(
        "req",
        "-x509",
        *_KEY,
        "-subj",
        "/CN=camera",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        path,
        "-out",
        certificate,
    )
    path.write_bytes(path.read_bytes() + certificate.read_bytes())
    return path


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
