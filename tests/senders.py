"""Senders and servers of video over UDP, RTP, TCP, RTMP and SRT."""

import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import create_server, socket
from typing import Final

import av

from tests.slowness import LONGEST_S

_HANDSHAKE: Final = 1536
_STEP_S: Final = 0.02


@contextmanager
def in_the_background(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run a function in a thread, and stop it at the end of the block."""
    stopped = threading.Event()
    thread = threading.Thread(target=work, args=(stopped,))
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(LONGEST_S)
        assert not thread.is_alive()


@contextmanager
def sending(video: Path, url: str, container_format: str) -> Iterator[None]:
    """Send the packets of a video in a loop, about as fast as a camera, with FFmpeg's muxer."""

    def send(stopped: threading.Event) -> None:
        with av.open(video) as source, av.open(url, "w", format=container_format) as target, suppress(OSError):
            stream = target.add_stream_from_template(source.streams.video[0])
            for number, packet in enumerate(_endless(source)):
                if stopped.wait(_STEP_S):
                    return
                packet.pts = packet.dts = number * 3600
                packet.stream = stream
                target.mux(packet)

    with in_the_background(send):
        yield


def _endless(source: av.container.InputContainer) -> Iterator["av.Packet"]:
    packets = [packet for packet in source.demux(video=0) if packet.size]
    while True:
        for packet in packets:
            packet.time_base = source.streams.video[0].time_base
            yield packet


@contextmanager
def answering(answer: Callable[[socket], None]) -> Iterator[int]:
    """Answer all clients in sequence; yields the port."""
    with create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)

        def serve(stopped: threading.Event) -> None:
            while not stopped.is_set():
                with suppress(OSError):
                    connection, _ = listening.accept()
                    with connection:
                        connection.settimeout(LONGEST_S)
                        answer(connection)

        with in_the_background(serve):
            yield listening.getsockname()[1]


def rtmp_refusal(connection: socket) -> None:
    """Greet an RTMP client, and answer that the requested stream does not exist (Adobe's RTMP 1.0, AMF0)."""
    greeting = _exactly(connection, 1 + _HANDSHAKE)
    connection.sendall(b"\3" + bytes(_HANDSHAKE) + greeting[1:])
    _exactly(connection, _HANDSHAKE)
    connection.sendall(_command("_result", 1, _object(), _object(code="NetConnection.Connect.Success", level="status")))
    heard = b""
    while len(asked := heard.partition(b"createStream\0")[2]) < 8:
        heard += connection.recv(4096)
    connection.sendall(_command("_result", struct.unpack(">d", asked[:8])[0], b"\5", _number(1)))
    while b"play" not in heard:
        heard += connection.recv(4096)
    status = _object(level="error", code="NetStream.Play.StreamNotFound", description="no such stream")
    connection.sendall(_command("onStatus", 0, b"\5", status))
    while connection.recv(4096):
        pass


def _exactly(connection: socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        piece = connection.recv(size - len(received))
        if not piece:
            raise ConnectionResetError
        received += piece
    return received


def _command(name: str, transaction: float, *values: bytes) -> bytes:
    """Return a command in one message of AMF0, cut into chunks of 128 bytes."""
    body = _text(name) + _number(transaction) + b"".join(values)
    pieces = [body[first : first + 128] for first in range(0, len(body), 128)]
    head = b"\3" + bytes(3) + len(body).to_bytes(3, "big") + b"\x14" + bytes(4)
    return head + b"\xc3".join(pieces)


def _text(value: str) -> bytes:
    return b"\2" + len(value).to_bytes(2, "big") + value.encode()


def _number(value: float) -> bytes:
    return b"\0" + struct.pack(">d", value)


def _object(**fields: str) -> bytes:
    named = b"".join(len(name).to_bytes(2, "big") + name.encode() + _text(value) for name, value in fields.items())
    return b"\3" + named + b"\0\0\x09"
