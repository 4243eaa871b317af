"""Detect whether a stream is a recording or a live broadcast by how fast it arrives, if nothing else tells."""

from time import monotonic
from typing import Final

import av

from maskstream.io.demuxing import AnyPacket, demuxed
from maskstream.sources.limits import Allowance

_OBSERVED_S: Final = 1.0
_RECORDED_S: Final = 15.0
"""Video that must arrive in `_OBSERVED_S` to count as a recording. A broadcast begins with some seconds from its buffer."""
_FALLBACK_FPS: Final = 25.0


def arrives_as_recording(
    container: av.container.InputContainer, early: list[AnyPacket], allowance: Allowance, asked_at_s: float, buffered_s: float
) -> bool:
    """Return whether video arrives as fast as only a recording can.

    That is the case if much more video arrives in a second than a second lasts, or if all of it arrives in less time than it
    lasts.

    Args:
        container: Just opened.
        early: Receives the packets that are read here.
        allowance: Limits of the source; at most half of its bytes are used.
        asked_at_s: When the request was sent, on the clock `monotonic`.
        buffered_s: Video that a camera may send at once before it ends.

    Raises:
        av.FFmpegError: The connection broke off.
        LimitReached: The time limit has passed.
    """
    began_s, has_ended = monotonic(), True
    for packet in demuxed(container):
        if not packet.size:  # PyAV's marker of the end
            break
        early.append(packet)
        if monotonic() - began_s > _OBSERVED_S or allowance.is_half_used or _length_s(early) > _RECORDED_S:
            has_ended = False
            break
    length_s = _length_s(early)
    return length_s > _RECORDED_S or (has_ended and length_s - (monotonic() - asked_at_s) > buffered_s)


def _length_s(packets: list[AnyPacket]) -> float:
    """Return the duration of the video in some packets."""
    video = [packet for packet in packets if packet.stream.type == "video"]
    if not video:
        return 0.0
    first, last = video[0], video[-1]
    if first.dts is None or last.dts is None:
        return len(video) / _FALLBACK_FPS
    return abs(float(last.dts * last.time_base) - float(first.dts * first.time_base))
