"""Parse HLS playlists (RFC 8216), as far as needed before FFmpeg reads them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin

PLAYLIST: Final = b"#EXTM3U"
"""The first bytes of a playlist."""
END: Final = b"#EXT-X-ENDLIST"
"""The line of a playlist to which nothing will be added."""
LIVE_START: Final = -2
"""Begin a live playlist at its second last segment.

While the last two segments play, the server has the time of two segments to add another one. If playback began at the last
segment, any delay of the server would stop it. The video that is shown is two to three segments old.
"""
_MAX_SEGMENT_S: Final = 60.0
_EXTRA_SEGMENTS: Final = 2
"""A server adds a segment after the time of 1.5 at most, and FFmpeg asks twice in the time of one."""
_ATTRIBUTE: Final = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^",]*)')
_NUMBER: Final = r"(\d+(?:\.\d*)?)"
_AUDIO_CODECS: Final = ("mp4a", "ac-3", "ec-3", "ac-4", "opus", "flac", "alac", "vorbis", "dts", "mha1", "mhm1", "mp3")
_TEXT_CODECS: Final = ("wvtt", "stpp", "tx3g", "im1t")


@dataclass(frozen=True)
class Variant:
    """One of the streams in a master playlist."""

    url: str
    bandwidth: int
    """Bits per second; 0 if not stated."""
    pixels: int | None
    """Per frame; None if not stated."""
    has_video: bool
    """False if the playlist states that it has audio only."""


@dataclass(frozen=True)
class Playlist:
    """A playlist of variants, or of segments."""

    variants: tuple[Variant, ...] = ()
    """Empty for a list of segments."""
    longest_s: float = 0.0
    """Duration of the longest segment."""
    has_ended: bool = False
    """Whether nothing will be added to it."""

    @property
    def extra_wait_s(self) -> float:
        """How much longer than usual the next packet may take; segments over a minute count as one minute."""
        return 0.0 if self.has_ended else _EXTRA_SEGMENTS * min(self.longest_s, _MAX_SEGMENT_S)


def read_playlist(text: str, url: str) -> Playlist:
    """Parse a playlist.

    Args:
        text: Content of the playlist.
        url: URL of the playlist; addresses in it may be relative to it.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    durations = re.findall(rf"^#EXT(?:INF|-X-TARGETDURATION):\s*{_NUMBER}", "\n".join(lines), re.MULTILINE)
    return Playlist(
        tuple(_variants(lines, url)),
        longest_s=max(map(float, durations), default=0.0),
        has_ended=END.decode() in lines,
    )


def best_variant(variants: Sequence[Variant], max_pixels: float) -> Variant | None:
    """Return the variant with the largest allowed frames; among equal ones, the one with the highest bandwidth.

    If all are too large, return the smallest one, which is refused with its size later. Variants without a stated size come
    after those with one. Return None if no variant has video.
    """
    with_video = [variant for variant in variants if variant.has_video]
    fitting = [variant for variant in with_video if (variant.pixels or 0) <= max_pixels]
    if not fitting:
        return min(with_video, key=lambda variant: variant.pixels or 0, default=None)
    return max(fitting, key=lambda variant: (variant.pixels or 0, variant.bandwidth))


def _variants(lines: Sequence[str], url: str) -> list[Variant]:
    variants = []
    attributes: dict[str, str] | None = None
    for line in lines:
        if line.startswith("#EXT-X-STREAM-INF:"):
            attributes = {name: value.strip('"') for name, value in _ATTRIBUTE.findall(line.partition(":")[2])}
        elif not line.startswith("#") and attributes is not None:
            variants.append(_variant(urljoin(url, line), attributes))
            attributes = None
    return variants


def _variant(url: str, attributes: dict[str, str]) -> Variant:
    size = re.fullmatch(r"(\d{1,6})[xX](\d{1,6})", attributes.get("RESOLUTION", ""))
    bandwidth = attributes.get("BANDWIDTH", "")
    without_video = (*_AUDIO_CODECS, *_TEXT_CODECS)
    codecs = [codec.strip().lower() for codec in attributes.get("CODECS", "").split(",") if codec.strip()]
    return Variant(
        url=url,
        bandwidth=int(bandwidth) if re.fullmatch(r"\d{1,12}", bandwidth) else 0,
        pixels=int(size[1]) * int(size[2]) if size else None,
        has_video=size is not None or not codecs or not all(codec.startswith(without_video) for codec in codecs),
    )
