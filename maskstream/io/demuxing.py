"""Read packets from containers."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import av

AnyPacket: TypeAlias = "av.Packet[Any]"  # generic for type checkers only


def demuxed(container: av.container.InputContainer, stream: "av.stream.Stream | None" = None) -> Iterator[AnyPacket]:
    """Yield the packets of one stream, or of all streams.

    In a broadcast that is damaged or joined from parts, a stream may appear later. PyAV then raises `IndexError`; reading
    continues after it.

    Raises:
        av.FFmpegError: The rest cannot be read.
    """
    while True:
        try:
            yield from container.demux() if stream is None else container.demux(stream)
        except IndexError:
            continue
        return
