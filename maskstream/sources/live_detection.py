"""Tells a recording from a broadcast where neither the server nor the container does: by how fast it comes."""

from time import monotonic
from typing import Final

import av

from maskstream.io.demuxing import AnyPacket, demuxed
from maskstream.sources.limits import Allowance

_LOOK_S: Final = 1.0
_RECORDED_S: Final = 15.0
"""Of video within that time. Broadcasts begin with some seconds that they have in store."""
_FALLBACK_FPS: Final = 25.0


def comes_as_a_file(
    container: av.container.InputContainer, early: list[AnyPacket], allowance: Allowance, asked_at_s: float, in_store_s: float
) -> bool:
    """Return whether so much of a video comes in a second as only a recording has, or all of it sooner than it lasts.

    Args:
        container: Just opened.
        early: Gets the packets that were read meanwhile.
        allowance: Of the source; no more than half of its bytes are taken.
        asked_at_s: When the server was asked for it, by `monotonic`.
        in_store_s: What it may have in store where it has ended already.

    Raises:
        av.FFmpegError: The connection broke.
        LimitReached: The time is up.
    """
    began_s, has_ended = monotonic(), True
    for packet in demuxed(container):
        if not packet.size:  # PyAV's sign of the end
            break
        early.append(packet)
        if monotonic() - began_s > _LOOK_S or allowance.is_half_used or _length_s(early) > _RECORDED_S:
            has_ended = False
            break
    length_s = _length_s(early)
    return length_s > _RECORDED_S or (has_ended and length_s - (monotonic() - asked_at_s) > in_store_s)


def _length_s(packets: list[AnyPacket]) -> float:
    """Return how long the video in some packets lasts."""
    video = [packet for packet in packets if packet.stream.type == "video"]
    times_s = (
        [float(packet.dts * packet.time_base) for packet in (video[0], video[-1]) if packet.dts is not None] if video else []
    )
    return abs(times_s[-1] - times_s[0]) if len(times_s) > 1 else len(video) / _FALLBACK_FPS
