"""A camera of RTSP inside the tests, which can be told to do what real ones do wrong; `servers.rtsp_server` is a whole one."""

import base64
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count
from socket import AF_INET, SOCK_DGRAM, socket
from time import monotonic

import av

from tests.liars import Caller, lying
from tests.video_files import grey

SIZE = (160, 120)
_CLOCK_HZ = 90_000
_LASTS_S = 15
_SPS, _PPS = 7, 8
_START_CODE = re.compile(rb"\x00*\x00\x00\x01")


@dataclass
class RtspCamera:
    """Sends H.264 of grey pictures, which tell their numbers, each time from the first one on."""

    fps: float = 25
    gop: int = 25
    """Pictures from one key frame to the next."""
    begins_at: int = 0
    """The first picture that a client gets."""
    describes_pictures: bool = True
    """Whether SPS and PPS are in the description; they come with each key frame all the same."""
    silent: Sequence[str] = ()
    """Over which transports nothing is sent, although they are granted: tcp, udp."""
    refused: Sequence[str] = ()
    pauses_at: int | None = None
    """The number of the picture from which on nothing is sent; None: all are sent."""
    tracks: int = 1
    """Of video; there is something to be seen in the first one alone."""
    asked: list[str] = field(default_factory=list)
    """The transport of each SETUP."""

    def __post_init__(self) -> None:
        self._units = list(_access_units(self.begins_at + round(self.fps * _LASTS_S), self.fps, self.gop))
        self._ports: dict[int, int | None] = {}

    def __call__(self, caller: Caller) -> None:
        """Answer a request; see `tests.liars`."""
        if caller.method == "DESCRIBE":
            body = self._description()
            caller.rtsp("200 OK", "Content-Type: application/sdp", f"Content-Length: {len(body)}", body=body)
        elif caller.method == "SETUP":
            self._set_up(caller)
        elif caller.method == "PLAY":
            caller.rtsp("200 OK", "Session: 1")
            self._play(caller)
        else:
            caller.rtsp("200 OK", "Public: DESCRIBE, SETUP, PLAY, TEARDOWN", "Session: 1")

    def _description(self) -> str:
        parameters = [nal for nal in self._units[0] if nal[0] & 31 in (_SPS, _PPS)]
        sprop = ",".join(base64.b64encode(nal).decode() for nal in parameters)
        lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=camera", "t=0 0"]
        for track in range(self.tracks):
            described = f";sprop-parameter-sets={sprop}" if self.describes_pictures and track == 0 else ""
            lines += ["m=video 0 RTP/AVP 96", "a=rtpmap:96 H264/90000", f"a=fmtp:96 packetization-mode=1{described}"]
            lines += [f"a=control:track{track}"]
        return "".join(f"{line}\r\n" for line in lines)

    def _set_up(self, caller: Caller) -> None:
        wanted = re.search(r"(?m)^Transport: (.*?)\r?$", caller.head)
        assert wanted is not None
        port = re.search(r"client_port=(\d+)", wanted[1])
        transport = "udp" if port else "tcp"
        self.asked.append(transport)
        if transport in self.refused:
            caller.rtsp("461 Unsupported Transport")
            return
        self._ports.setdefault(caller.number, port and int(port[1]))
        caller.rtsp("200 OK", "Session: 1", f"Transport: {wanted[1]}{';server_port=9000-9001' if port else ''}")

    def _play(self, caller: Caller) -> None:
        """Send until the client leaves, or all is sent."""
        port, began_s, sequence = self._ports[caller.number], monotonic(), count()
        is_silent = ("tcp" if port is None else "udp") in self.silent
        with closing(socket(AF_INET, SOCK_DGRAM)) as datagrams:
            for sent, unit in enumerate(self._units[self.begins_at :]):
                if not caller.stays(began_s + sent / self.fps - monotonic()):
                    return
                for packet in _packets(unit, round(sent * _CLOCK_HZ / self.fps), sequence):
                    if is_silent or (self.pauses_at is not None and sent >= self.pauses_at):
                        continue
                    if port is None:
                        caller.send(b"$\0" + len(packet).to_bytes(2, "big") + packet)
                    else:
                        datagrams.sendto(packet, ("127.0.0.1", port))


def _access_units(number: int, fps: float, gop: int) -> Iterator[list[bytes]]:
    """Yield the NAL units of each picture."""
    codec = av.CodecContext.create("libx264", "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.width, codec.height = SIZE
    codec.pix_fmt = "yuv420p"
    codec.time_base = 1 / Fraction(fps).limit_denominator(100)
    codec.framerate = Fraction(fps).limit_denominator(100)
    codec.options = {"g": str(gop), "sc_threshold": "0", "tune": "zerolatency", "preset": "ultrafast"}
    for index in range(number + 1):
        frame = av.VideoFrame.from_ndarray(grey(index, SIZE), "bgr24") if index < number else None
        if frame is not None:
            frame.pts = index
        for packet in codec.encode(frame):
            yield [nal for nal in _START_CODE.split(bytes(packet)) if nal]


def _packets(unit: Sequence[bytes], timestamp: int, sequence: Iterator[int]) -> Iterator[bytes]:
    """Yield RTP packets (RFC 6184), one for each NAL unit."""
    for nal in unit:
        is_last = nal is unit[-1]
        yield struct.pack(">BBHII", 0x80, 96 | is_last << 7, next(sequence) & 0xFFFF, timestamp, 7) + nal


@contextmanager
def running(camera: RtspCamera) -> Iterator[str]:
    """Let a camera serve; yields its URL."""
    with lying(camera, "rtsp") as url:
        yield url
