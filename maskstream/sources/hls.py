"""What an HLS playlist says (RFC 8216), as far as it matters before FFmpeg reads it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin

PLAYLIST: Final = b"#EXTM3U"
"""How one begins."""
END: Final = b"#EXT-X-ENDLIST"
"""What it says where nothing will be added to it."""
LIVE_START: Final = -2
"""Begin a live playlist with the second of its segments, counted from the end.

While that one and the last one are shown there are two segments' time for the server to add another one: none is waited for. With
the last one alone, a server that is a little late would be waited for at once. What is shown is then two to three segments old.
"""
_LONGEST_SEGMENT_S: Final = 60.0
_PATIENCE: Final = 2
"""Segments. A server adds one after 1.5 of them at the latest, and FFmpeg asks for it twice in the time of one."""
_ATTRIBUTE: Final = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^",]*)')
_NUMBER: Final = r"(\d+(?:\.\d*)?)"
_SOUND: Final = ("mp4a", "ac-3", "ec-3", "ac-4", "opus", "flac", "alac", "vorbis", "dts", "mha1", "mhm1", "mp3")
_TEXT: Final = ("wvtt", "stpp", "tx3g", "im1t")


@dataclass(frozen=True)
class Variant:
    """One of the streams that a master playlist offers."""

    url: str
    bandwidth: int
    """Bits per second; 0 where it does not say."""
    pixels: int | None
    """Of a picture; None where it does not say."""
    has_video: bool
    """False where it says that it has sound alone."""


@dataclass(frozen=True)
class Playlist:
    """A playlist of variants, or of segments."""

    variants: tuple[Variant, ...] = ()
    """None where it is a list of segments."""
    longest_s: float = 0.0
    """The longest segment."""
    has_ended: bool = False
    """Whether nothing will be added to it."""

    @property
    def patience_s(self) -> float:
        """How much longer than usual one waits for what comes next; segments over a minute count as one minute."""
        return 0.0 if self.has_ended else _PATIENCE * min(self.longest_s, _LONGEST_SEGMENT_S)


def read_playlist(text: str, url: str) -> Playlist:
    """Return what a playlist says.

    Args:
        text: Of the playlist.
        url: Where it came from: addresses in it may be relative to that.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lengths = re.findall(rf"^#EXT(?:INF|-X-TARGETDURATION):\s*{_NUMBER}", "\n".join(lines), re.MULTILINE)
    return Playlist(
        tuple(_variants(lines, url)),
        longest_s=max(map(float, lengths), default=0.0),
        has_ended=END.decode() in lines,
    )


def best_variant(variants: Sequence[Variant], most_pixels: float) -> Variant | None:
    """Return the variant with the largest pictures that are allowed; of equal ones that of the highest bandwidth.

    Where all are too large it is the smallest, which is refused with its size. Those that do not say how large they are come
    after those that do. None where none has a picture.
    """
    seen = [variant for variant in variants if variant.has_video]
    fitting = [variant for variant in seen if (variant.pixels or 0) <= most_pixels]
    if not fitting:
        return min(seen, key=lambda variant: variant.pixels or 0, default=None)
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
    codecs = [codec.strip().lower() for codec in attributes.get("CODECS", "").split(",") if codec.strip()]
    return Variant(
        url=url,
        bandwidth=int(bandwidth) if re.fullmatch(r"\d{1,12}", bandwidth) else 0,
        pixels=int(size[1]) * int(size[2]) if size else None,
        has_video=size is not None or not codecs or not all(codec.startswith((*_SOUND, *_TEXT)) for codec in codecs),
    )
