"""Load a renewed certificate while the dashboard runs, and warn before it expires."""

from pathlib import Path
from typing import Final

from loguru import logger

from maskstream.clock import Clock
from maskstream.config.schema import WebConfig
from maskstream.errors import ConfigError
from maskstream.io.user_folders import expand_home
from maskstream.web.tls import Certificate, load_certificate, warn_before_end

_WARN_EVERY_S: Final = 86_400.0
_Stamp = tuple[int, int, int] | None


class CertificateWatch:
    """Watches the files of `web.tls_certificate` and `web.tls_key`. New connections get the renewed certificate."""

    def __init__(self, config: WebConfig, certificate: Certificate, clock: Clock) -> None:
        """Begin with a certificate that was loaded just now."""
        self._files = (str(config.tls_certificate), str(config.tls_key))
        self._certificate = certificate
        self._clock = clock
        self._warned_s = clock.now_s()
        self._seen = self._stamps()

    def check(self) -> None:
        """Load the files again where they have changed. Files that do not fit leave the earlier certificate in use."""
        stamps = self._stamps()
        if stamps != self._seen:
            self._seen = stamps
            self._reload()
        elif self._clock.now_s() - self._warned_s >= _WARN_EVERY_S:
            self._warned_s = self._clock.now_s()
            warn_before_end(self._files[0], self._certificate)

    def _reload(self) -> None:
        try:
            renewed = load_certificate(*self._files)
            self._certificate.context.load_cert_chain(*map(expand_home, self._files))
        except (ConfigError, OSError) as error:  # an ssl.SSLError is an OSError
            logger.error("{}; the earlier certificate stays in use", error)
            return
        self._certificate = Certificate(self._certificate.context, renewed.expires, renewed.names)
        logger.info("{}: loaded again; valid until {:%Y-%m-%d}", self._files[0], renewed.expires)
        warn_before_end(self._files[0], renewed)

    def _stamps(self) -> list[_Stamp]:
        stamps: list[_Stamp] = []
        for file in self._files:
            try:
                state = Path(expand_home(file)).stat()
                stamps.append((state.st_ino, state.st_mtime_ns, state.st_size))
            except OSError:  # it may be being replaced
                stamps.append(None)
        return stamps
