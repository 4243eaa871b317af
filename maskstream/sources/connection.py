"""What is the same for all ways to reach what a URL names."""

from dataclasses import dataclass, field
from typing import Literal, Protocol

import av

from maskstream.demuxing import AnyPacket
from maskstream.settings import NetworkConfig
from maskstream.sources.limits import Allowance

Transport = Literal["tcp", "udp"]


@dataclass
class Remembered:
    """What is known of a camera from one connection to the next."""

    transport: Transport | None = None
    """By which RTSP came, where that was tried."""
    is_patient: bool = False
    """Whether the next connection over RTSP gives the first transport all the time."""
    has_warned: bool = False
    """Whether it was said that its certificate is not checked."""


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
    early: list[AnyPacket] = field(default_factory=list)
    """The first packets, where a connection reads some to see that they come."""


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
        """
        ...

    def is_live(self, container: av.container.InputContainer) -> bool:
        """Return whether what was opened is a camera: without an end, and lost where it breaks off."""
        ...

    def close(self) -> None:
        """End what FFmpeg does not close with the container; may be called twice."""
