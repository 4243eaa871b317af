"""What is the same for all ways to reach what a URL names."""

from dataclasses import dataclass
from typing import Literal, Protocol

import av

from maskstream.errors import SourceRefused
from maskstream.settings import NetworkConfig
from maskstream.sources.limits import Allowance

Transport = Literal["tcp", "udp"]


class PictureComes(SourceRefused):
    """What a URL leads to is no video: one picture comes from there, and the answer ends."""

    def __init__(self, name: str, picture: bytes) -> None:
        """Keep the picture.

        Args:
            name: Of the source.
            picture: All that came.
        """
        super().__init__(f"{name}: one picture comes from there, and no video")
        self.picture = picture


@dataclass
class Remembered:
    """What is known of a camera from one connection to the next."""

    transport: Transport | None = None
    """By which RTSP came, where that was tried."""
    has_warned: bool = False
    """Whether it was said that its certificate is not checked."""
    is_asked_said: bool = False
    """Whether it was said that it is asked for a picture again and again."""


@dataclass(frozen=True)
class Peer:
    """Who is to be reached, and what that may cost."""

    url: str
    """With a scheme in small letters."""
    name: str
    """Of the source, without passwords."""
    config: NetworkConfig
    allowance: Allowance
    remembered: Remembered


class Connection(Protocol):
    """A way to reach a peer; used once."""

    url: str
    """Where it leads to by now."""
    ca_file: str | None
    """Whom its certificate must come from; None: it is not checked."""

    def __init__(self, peer: Peer) -> None:
        """Open nothing yet."""

    def open(self) -> av.container.InputContainer:
        """Connect, and find out what comes.

        Raises:
            av.FFmpegError: FFmpeg's own, which have the password in them.
            LimitReached: It is late, or too much.
            PictureComes: It is a picture.
        """
        ...

    def is_live(self, container: av.container.InputContainer) -> bool:
        """Return whether what was opened is a camera: without an end, and lost where it breaks off."""
        ...

    def close(self) -> None:
        """End what FFmpeg does not close with the container; may be called twice."""
