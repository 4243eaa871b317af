"""A camera of RTSP inside the tests, which can be told to do what real ones do wrong; `servers.rtsp_server` is a whole one."""

import base64
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count, cycle
from socket import AF_INET, SOCK_DGRAM, socket
from time import monotonic

import av

from maskstream.types import BgrImage
from tests.faulty_servers import Client, faulty_server
from tests.video_files import grey

SIZE = (160, 120)
CODECS = {
    "libx264": ("H264", "packetization-mode=1"),
    "libx265": ("H265", "sprop-max-don-diff=0"),
    "mpeg4": ("MP4V-ES", "profile-level-id=1"),
}
"""By FFmpeg's name of the encoder, what they are called in descriptions, and their settings there."""
_OPTIONS: dict[str, dict[str, str]] = {
    "libx264": {"sc_threshold": "0", "tune": "zerolatency", "preset": "ultrafast", "slice-max-size": "30000"},
    "libx265": {"tune": "zerolatency", "preset": "ultrafast", "x265-params": "log-level=none:scenecut=0"},
    "mpeg4": {},
}
_CLOCK_HZ = 90_000
_SPS, _PPS = 7, 8
_START_CODE = re.compile(rb"\x00*\x00\x00\x01")


@dataclass
class RtspCamera:
    """Sends video of grey pictures, which tell their numbers, or of other ones; each time from the first one on."""

    codec: str = "libx264"
    """FFmpeg's name of the encoder, one of `CODECS`."""
    fps: float = 25
    gop: int = 25
    """Pictures from one key frame to the next."""
    lasts_s: float = 15
    """Of grey pictures."""
    pictures: Sequence[BgrImage] = ()
    """Other ones, of one size, which it sends in a loop without end."""
    begins_at: int = 0
    """The first picture that a client gets."""
    describes_images: bool = True
    """Whether SPS and PPS of H.264 are in the description; they come with each key frame all the same."""
    silent: Sequence[str] = ()
    """Over which transports nothing is sent, although they are granted: tcp, udp."""
    refused: Sequence[str] = ()
    pauses_at: int | None = None
    """The number of the picture from which on nothing is sent; None: all are sent."""
    tracks: int = 1
    """Of video; there is something to be seen in the first one alone."""
    further: Sequence[str] = ()
    """Lines of the description, of other tracks."""
    asked: list[str] = field(default_factory=list)
    """The transport of each SETUP."""

    def __post_init__(self) -> None:
        pictures = self.pictures or [grey(index, SIZE) for index in range(self.begins_at + round(self.fps * self.lasts_s))]
        self._units = list(_access_units(self.codec, pictures, self.fps, self.gop))
        self._ports: dict[int, int | None] = {}

    def __call__(self, client: Client) -> None:
        """Answer a request; see `tests.faulty_servers`."""
        if client.method == "DESCRIBE":
            body = self._description()
            client.rtsp("200 OK", "Content-Type: application/sdp", f"Content-Length: {len(body)}", body=body)
        elif client.method == "SETUP":
            self._set_up(client)
        elif client.method == "PLAY":
            client.rtsp("200 OK", "Session: 1")
            self._play(client)
        else:
            client.rtsp("200 OK", "Public: DESCRIBE, SETUP, PLAY, TEARDOWN", "Session: 1")

    def _description(self) -> str:
        name, settings = CODECS[self.codec]
        parameters = [nal for nal in self._units[0] if nal[0] & 31 in (_SPS, _PPS)]
        sprop = ",".join(base64.b64encode(nal).decode() for nal in parameters)
        describes = self.describes_images and self.codec == "libx264"
        lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=camera", "t=0 0"]
        for track in range(self.tracks):
            described = f";sprop-parameter-sets={sprop}" if describes and track == 0 else ""
            lines += ["m=video 0 RTP/AVP 96", f"a=rtpmap:96 {name}/90000", f"a=fmtp:96 {settings}{described}"]
            lines += [f"a=control:track{track}"]
        lines += self.further
        return "".join(f"{line}\r\n" for line in lines)

    def _set_up(self, client: Client) -> None:
        wanted = re.search(r"(?m)^Transport: (.*?)\r?$", client.head)
        assert wanted is not None
        port = re.search(r"client_port=(\d+)", wanted[1])
        transport = "udp" if port else "tcp"
        self.asked.append(transport)
        if transport in self.refused:
            client.rtsp("461 Unsupported Transport")
            return
        self._ports.setdefault(client.number, port and int(port[1]))
        client.rtsp("200 OK", "Session: 1", f"Transport: {wanted[1]}{';server_port=9000-9001' if port else ''}")

    def _play(self, client: Client) -> None:
        """Send until the client leaves, or all is sent."""
        port, began_s, sequence = self._ports[client.number], monotonic(), count()
        is_silent = ("tcp" if port is None else "udp") in self.silent
        with closing(socket(AF_INET, SOCK_DGRAM)) as datagrams:
            for sent, unit in enumerate(cycle(self._units) if self.pictures else self._units[self.begins_at :]):
                if not client.stays(began_s + sent / self.fps - monotonic()):
                    return
                for packet in _packets(unit, round(sent * _CLOCK_HZ / self.fps), sequence):
                    if is_silent or (self.pauses_at is not None and sent >= self.pauses_at):
                        continue
                    if port is None:
                        client.send(b"$\0" + len(packet).to_bytes(2, "big") + packet)
                    else:
                        datagrams.sendto(packet, ("127.0.0.1", port))


def _access_units(encoder: str, pictures: Sequence[BgrImage], fps: float, gop: int) -> Iterator[list[bytes]]:
    """Yield what is sent of each picture: its NAL units, or all in one where the codec has none."""
    codec = av.CodecContext.create(encoder, "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.height, codec.width = pictures[0].shape[:2]
    codec.pix_fmt = "yuv420p"
    codec.time_base = 1 / Fraction(fps).limit_denominator(100)
    codec.framerate = Fraction(fps).limit_denominator(100)
    codec.options = {"g": str(gop), **_OPTIONS[encoder]}
    for index in range(len(pictures) + 1):
        frame = av.VideoFrame.from_ndarray(pictures[index], "bgr24") if index < len(pictures) else None
        if frame is not None:
            frame.pts = index
        for packet in codec.encode(frame):
            data = bytes(packet)
            yield [data] if encoder == "mpeg4" else [nal for nal in _START_CODE.split(data) if nal]


def _packets(unit: Sequence[bytes], timestamp: int, sequence: Iterator[int]) -> Iterator[bytes]:
    """Yield RTP packets (RFC 6184), one for each NAL unit."""
    for nal in unit:
        is_last = nal is unit[-1]
        yield struct.pack(">BBHII", 0x80, 96 | is_last << 7, next(sequence) & 0xFFFF, timestamp & 0xFFFFFFFF, 7) + nal


@contextmanager
def running(camera: RtspCamera) -> Iterator[str]:
    """Let a camera serve; yields its URL."""
    with faulty_server(camera, "rtsp") as url:
        yield url
