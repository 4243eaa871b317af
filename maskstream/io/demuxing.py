"""Packets out of containers."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import av

AnyPacket: TypeAlias = "av.Packet[Any]"  # generic for type checkers alone


def demuxed(container: av.container.InputContainer, stream: "av.stream.Stream | None" = None) -> Iterator[AnyPacket]:
    """Yield the packets of a stream, or of all.

    In a broadcast that is damaged or was joined from parts, a stream may appear that was not there when it was opened. PyAV ends
    with an `IndexError` there; reading goes on behind it.

    Raises:
        av.FFmpegError: The rest cannot be read.
    """
    while True:
        try:
            yield from container.demux() if stream is None else container.demux(stream)
        except IndexError:
            continue
        return
