"""The interface of all connections to a URL, and the base class of live ones."""

from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

import av
from av.codec.hwaccel import HWAccel

from maskstream.config.schema import NetworkConfig
from maskstream.errors import SourceRefused
from maskstream.io.demuxing import AnyPacket
from maskstream.sources.limits import Allowance
from maskstream.sources.tls import ca_file_for

SHORT_FPS_PROBE: Final = {"fpsprobesize": "5"}
"""In frames. FFmpeg's default of 20 frames takes 4 s with a camera of 5 fps."""
Transport = Literal["tcp", "udp"]


class SingleImageReceived(SourceRefused):
    """A URL sends one image instead of a video."""

    def __init__(self, name: str, image: bytes) -> None:
        """Store the image.

        Args:
            name: Name of the source.
            image: All received bytes.
        """
        super().__init__(f"{name}: the server sends one image, not a video")
        self.image = image


@dataclass
class ConnectionHistory:
    """What earlier connections to a camera have found out."""

    transport: Transport | None = None
    """The transport by which RTSP worked."""
    first_transport_gets_all_time: bool = False
    """Whether the next connection over RTSP waits the complete time for the first transport."""
    single_image_answers: int = 0
    """Connections in a row in which Motion JPEG ended after one image."""
    was_live: bool = False
    """Whether the source was live: then it stays so, even if much arrives at once."""
    certificate_logged: bool = False
    """Whether a warning was logged that the certificate is not checked."""
    snapshots_logged: bool = False
    """Whether it was logged that the camera is requested for single images."""


@dataclass(frozen=True)
class Peer:
    """The server to connect to, and the limits for it."""

    url: str
    """With the scheme in lower case."""
    name: str
    """Name of the source, without passwords."""
    config: NetworkConfig
    allowance: Allowance
    history: ConnectionHistory
    early: list[AnyPacket] = field(default_factory=list)
    """Packets that a connection reads while it opens, to check that data arrives."""
    hwaccel: HWAccel | None = None
    """From `gpu_video.decoder`; used by RTSP."""


class Connection(Protocol):
    """A way to connect to a peer; used once."""

    url: str
    """The URL after redirects."""
    ca_file: str | None
    """File with trusted certificate authorities; None: the certificate is not checked."""

    def __init__(self, peer: Peer) -> None:
        """Store the peer; open nothing."""

    def open(self) -> av.container.InputContainer:
        """Connect and probe the stream.

        Raises:
            av.FFmpegError: From FFmpeg; its text contains the password.
            LimitReached: A limit was reached.
            SingleImageReceived: The server sends one image.
        """
        ...

    def is_live(self, container: av.container.InputContainer) -> bool:
        """Return whether the opened stream is live: its frames are dropped if there is no time for them."""
        ...

    def is_paced(self, container: av.container.InputContainer) -> bool:
        """Return whether live frames wait until their timestamps are due; else they are yielded at once."""
        ...

    def extra_wait_s(self) -> float:
        """Return how much longer than `network.read_timeout_s` the next packet may take."""
        ...

    def end_is_final(self, container: av.container.InputContainer) -> bool:
        """Return whether the end of a live stream is its real end; else the stream counts as lost."""
        ...

    def needs_seeking(self) -> bool:
        """Return whether the file can only be read with seeking, and its server does not support that."""
        ...

    def close(self) -> None:
        """Close what FFmpeg does not close with the container; may be called twice."""


class LiveConnection:
    """Base class of connections to streams that are live and cannot be requested again."""

    def __init__(self, peer: Peer) -> None:
        """Store the peer; open nothing.

        Raises:
            SourceRefused: `network.ca_file` cannot be used.
        """
        self._peer = peer
        self.url = peer.url
        self.ca_file = ca_file_for(peer.url, peer.name, peer.config)

    def is_live(self, container: av.container.InputContainer) -> bool:
        """Return True."""
        return True

    def is_paced(self, container: av.container.InputContainer) -> bool:
        """Return whether the format has timestamps: such a stream may arrive in bursts."""
        return has_timestamps(container)

    def extra_wait_s(self) -> float:
        """Return 0: frames arrive one by one."""
        return 0.0

    def end_is_final(self, container: av.container.InputContainer) -> bool:
        """Return False: the sender may start again, or has lost the network."""
        return False

    def needs_seeking(self) -> bool:
        """Return False: it is not a file."""
        return False

    def close(self) -> None:
        """Do nothing: FFmpeg closes everything with the container."""


def has_timestamps(container: av.container.InputContainer) -> bool:
    """Return whether frames of this format have timestamps."""
    return av.format.Flags.no_timestamps not in av.format.Flags(container.format.flags)
