"""Recognise web pages that users give as the address of a video, and tell them what to give instead."""

from pathlib import PurePosixPath
from typing import Final
from urllib.parse import urlsplit

from maskstream.errors import SourceRefused
from maskstream.io.folders import VIDEO_SUFFIXES
from maskstream.redaction import redact
from maskstream.sources.url_parts import HTTP_SCHEMES

_SITES: Final = (
    *("youtube.com", "youtu.be", "youtube-nocookie.com", "twitch.tv", "vimeo.com", "dailymotion.com", "dai.ly", "bilibili.com"),
    *("facebook.com", "fb.watch", "instagram.com", "tiktok.com", "twitter.com", "x.com", "rumble.com", "odysee.com", "kick.com"),
    *("reddit.com", "streamable.com", "earthcam.com", "skylinewebcams.com"),
)
"""Sites whose URLs, and those of their subdomains, are web pages."""
_STREAM_SUFFIXES: Final = (*VIDEO_SUFFIXES, ".m3u8", ".m3u", ".mpd")
WEB_PAGE_RECEIVED: Final = (
    "the server sends a web page, not a video; get the address of the video in it with yt-dlp -g URL, "
    "or find the stream address of the camera (mostly rtsp://...) in its manual or settings"
)


def require_no_web_page(url: str) -> None:
    """Check that a URL is not a page of a known video site.

    Raises:
        SourceRefused: It is one, according to its host.
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:  # the connection reports what is wrong with the URL
        return
    is_page = parts.scheme.lower() in HTTP_SCHEMES and any(host == site or host.endswith(f".{site}") for site in _SITES)
    if is_page and PurePosixPath(parts.path).suffix.lower() not in _STREAM_SUFFIXES:
        raise SourceRefused(
            f"{redact(url)}: this is a web page; get the address of its video with `yt-dlp -g '{redact(url)}'` and give that"
        )
