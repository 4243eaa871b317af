"""Web pages, which people give as the address of a video: what to do instead."""

from pathlib import PurePosixPath
from typing import Final
from urllib.parse import urlsplit

from maskstream.errors import SourceRefused
from maskstream.io.folders import VIDEO_SUFFIXES
from maskstream.redaction import redact

_SITES: Final = (
    *("youtube.com", "youtu.be", "youtube-nocookie.com", "twitch.tv", "vimeo.com", "dailymotion.com", "dai.ly", "bilibili.com"),
    *("facebook.com", "fb.watch", "instagram.com", "tiktok.com", "twitter.com", "x.com", "rumble.com", "odysee.com", "kick.com"),
    *("reddit.com", "streamable.com", "earthcam.com", "skylinewebcams.com"),
)
"""Whose addresses are pages, with the hosts below them."""
_STREAM_SUFFIXES: Final = (*VIDEO_SUFFIXES, ".m3u8", ".m3u", ".mpd")
A_PAGE: Final = (
    "a web page comes from there, no video; get the address of the video in it with yt-dlp -g URL, "
    "or of a camera the stream's own address (mostly rtsp://...) from its manual or settings"
)
"""What is said where a page is sent."""


def require_no_page(url: str) -> None:
    """Leave a URL alone that may lead to a video.

    Raises:
        SourceRefused: It is a page of a site of videos, as its host says.
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:  # whoever connects says what is wrong with it
        return
    is_page = parts.scheme.lower() in ("http", "https") and any(host == site or host.endswith(f".{site}") for site in _SITES)
    if is_page and PurePosixPath(parts.path).suffix.lower() not in _STREAM_SUFFIXES:
        raise SourceRefused(
            f"{redact(url)}: is a web page: get the address of its video with `yt-dlp -g '{redact(url)}'` and give that"
        )
