"""Web pages instead of videos, file URLs, and locations with white space or quotes around them."""

import os
from pathlib import Path

import pytest

from maskstream.config.cameras import read_cameras
from maskstream.config.schema import Config
from maskstream.errors import SourceOpenError, SourceRefused
from maskstream.io.locations import location_kind, plain_location
from maskstream.sources import FileSource, UrlSource, source_kind
from tests.servers import content, http_server


@pytest.mark.parametrize(
    "url",
    [
        "https://www.youtube.com/watch?v=abc",
        "https://youtu.be/abc",
        "HTTPS://M.YouTube.com/live/abc",
        "https://www.twitch.tv/somebody",
        "https://vimeo.com/123",
        "https://user:secret@www.youtube.com/watch?v=abc",
    ],
)
def test_a_page_of_a_site_of_videos_is_known_before_any_connection(url: str) -> None:
    with pytest.raises(
        SourceRefused, match=r"this is a web page; get the address of its video with `yt-dlp -g .*` and give that"
    ) as caught:
        source_kind(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://player.vimeo.com/external/1.m3u8?s=a",
        "https://rr1.googlevideo.com/videoplayback?id=1",
        "https://notyoutube.com/watch",
        "https://cam.example/youtube.com",
        "rtsp://x.com/live",
    ],
)
def test_what_may_be_a_video_is_tried(url: str) -> None:
    assert source_kind(url) == "url"


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><html><body>Log in</body></html>", b"\r\n <html>" + b" " * 9999])
def test_a_received_web_page_is_reported(config: Config, page: bytes) -> None:
    with (
        http_server({"/": content(page, "text/html")}) as address,
        pytest.raises(SourceRefused, match=r"the server sends a web page, not a video; .*yt-dlp -g URL.*rtsp://"),
    ):
        UrlSource(f"{address}/", config.network)


@pytest.mark.parametrize(
    ("given", "location"),
    [
        ("file:a.mp4", "a.mp4"),
        ("file:a%20b.mp4", "a b.mp4"),
        ("file:///rec/a%20b%23%3F.mp4", "/rec/a b#?.mp4"),
        ("FILE:///rec/a#1?.mp4", "/rec/a#1?.mp4"),
        ("file://localhost/rec/%C3%BC.mp4", "/rec/ü.mp4"),
        (" a.mp4\n", "a.mp4"),
        ("\tkept.mp4 ", "\tkept.mp4 "),
        ("file:kept.mp4", "file:kept.mp4"),
        ("file:100%25.mp4", "100%25.mp4"),
        ("C:\\rec\\a.mp4", "C:\\rec\\a.mp4"),
        (" rtsp://cam/1 ", "rtsp://cam/1"),
        ("~/a.mp4", "~/a.mp4"),
    ],
)
def test_the_path_of_what_a_user_gives(folder: Path, given: str, location: str) -> None:
    """A file with exactly that name is preferred."""
    for name in ("\tkept.mp4 ", "file:kept.mp4", "100%25.mp4"):
        Path(name).touch()
    assert plain_location(given) == location


def test_a_file_url_is_read_under_its_path(folder: Path, config: Config) -> None:
    (camera,) = read_cameras([f"file://{folder}/a%20b.mp4"], config)
    assert (camera.name, camera.location, location_kind(camera.location)) == (f"{folder}/a b.mp4", f"{folder}/a b.mp4", "file")
    with pytest.raises(SourceOpenError, match="names a file on the machine nas; give file:///PATH"):
        read_cameras(["file://nas/share/a.mp4"], config)


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("x" * 300 + ".mp4", "cannot be read: File name too long; check the path"),
        ("a.mp4/b.mp4", "no such file; check the path"),
    ],
)
def test_paths_that_lead_nowhere(folder: Path, location: str, words: str) -> None:
    Path("a.mp4").touch()
    with pytest.raises(SourceOpenError) as caught:
        FileSource(location)
    assert str(caught.value).startswith(f"{location}: {words}")


def test_a_nul_byte(config: Config) -> None:
    with pytest.raises(SourceOpenError, match=r"^a\\x00b: a location must not contain a NUL byte"):
        read_cameras(["a\0b"], config)
    with pytest.raises(SourceOpenError, match=r"^a\\x00b: not a valid path: embedded null byte"):
        FileSource("a\0b")


def test_a_folder_with_the_name_of_a_video(folder: Path, config: Config) -> None:
    Path("day.mp4").mkdir()
    Path("day.mp4/a.mp4").touch()
    assert [camera.location for camera in read_cameras(["day.mp4"], config)] == ["day.mp4/a.mp4"]


def test_a_folder_that_may_not_be_read(folder: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("locked").mkdir()

    def refuse(path: str) -> object:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SourceOpenError, match=r"^locked: cannot be read: Permission denied; check its permissions"):
        read_cameras(["locked"], config)
