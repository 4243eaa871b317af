"""What is the same for all ways to reach what a URL names."""

from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

import av

from maskstream.config.schema import NetworkConfig
from maskstream.errors import SourceRefused
from maskstream.io.demuxing import AnyPacket
from maskstream.sources.limits import Allowance
from maskstream.sources.tls import trusted_by

ENOUGH_FOR_FPS: Final = {"fpsprobesize": "5"}
"""Frames. By itself FFmpeg watches 20 before it lets go, which are 4 s of a camera with 5 fps."""
Transport = Literal["tcp", "udp"]


class ImageComes(SourceRefused):
    """What a URL leads to is no video: one picture comes from there, and the answer ends."""

    def __init__(self, name: str, image: bytes) -> None:
        """Keep the picture.

        Args:
            name: Of the source.
            image: All that came.
        """
        super().__init__(f"{name}: one picture comes from there, and no video")
        self.image = image


@dataclass
class Remembered:
    """What is known of a camera from one connection to the next."""

    transport: Transport | None = None
    """By which RTSP came, where that was tried."""
    is_patient: bool = False
    """Whether the next connection over RTSP gives the first transport all the time."""
    lone_images: int = 0
    """Connections in a row over which one picture of Motion JPEG came, and no second one."""
    was_live: bool = False
    """Whether it was a camera: it is none the less where it sends much at once."""
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
            ImageComes: It is a picture.
        """
        ...

    def is_live(self, container: av.container.InputContainer) -> bool:
        """Return whether what was opened is a camera: its frames are dropped where there is no time for them."""
        ...

    def is_paced(self, container: av.container.InputContainer) -> bool:
        """Return whether a live stream's frames wait until they are due by their timestamps; else they are handed out at once."""
        ...

    def patience_s(self) -> float:
        """Return how much longer than `network.read_timeout_s` the next packet may take."""
        ...

    def end_is_final(self, container: av.container.InputContainer) -> bool:
        """Return whether a live stream that has ended will not come back; else it counts as lost."""
        ...

    def needs_seeking(self) -> bool:
        """Return whether it is a file that cannot be read from beginning to end, and the server gives it in no other way."""
        ...

    def close(self) -> None:
        """End what FFmpeg does not close with the container; may be called twice."""


class LiveConnection:
    """What holds for all connections to something that is sent now, and cannot be asked for again."""

    def __init__(self, peer: Peer) -> None:
        """Open nothing yet.

        Raises:
            SourceRefused: `network.ca_file` cannot be used.
        """
        self._peer = peer
        self.url = peer.url
        """Where it leads to by now."""
        self.ca_file = trusted_by(peer.url, peer.name, peer.config)
        """Whom its certificate must come from; None: it has none, or it is not checked."""

    def is_live(self, container: av.container.InputContainer) -> bool:
        """Return True."""
        return True

    def is_paced(self, container: av.container.InputContainer) -> bool:
        """Return whether its timestamps say when its frames were taken: it may arrive in bursts."""
        return has_timestamps(container)

    def patience_s(self) -> float:
        """Return 0: frames come one by one."""
        return 0.0

    def end_is_final(self, container: av.container.InputContainer) -> bool:
        """Return False: whoever ends a stream may be started again, or has lost the network."""
        return False

    def needs_seeking(self) -> bool:
        """Return False: it is no file."""
        return False

    def close(self) -> None:
        """Do nothing: FFmpeg closes all with the container."""


def has_timestamps(container: av.container.InputContainer) -> bool:
    """Return whether frames of this format have times of their own."""
    return av.format.Flags.no_timestamps not in av.format.Flags(container.format.flags)
