import os
from io import BytesIO
from pathlib import Path

import cv2
import pytest
from PIL import Image

from maskstream.io.content import START_BYTES, content_of, content_of_file
from maskstream.io.image_formats import WRITABLE_SUFFIXES
from maskstream.io.images import write_image
from maskstream.sources import source_kind
from tests.video_files import every, four_corners, grey, write_video


def jpeg(index: int = 0, size: tuple[int, int] = (64, 48)) -> bytes:
    return cv2.imencode(".jpg", grey(index, size))[1].tobytes()


def saved(kind: str, **options: object) -> bytes:
    file = BytesIO()
    Image.new("RGB", (40, 30), "red").save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("suffix", WRITABLE_SUFFIXES)
def test_all_that_is_written_is_known_as_an_image(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture{suffix}"
    write_image(path, four_corners((64, 32)))
    assert content_of(path.read_bytes()[:START_BYTES]) == "picture"


@pytest.mark.parametrize(
    "start",
    [
        *(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", b"\0\0\0\x2cftypavis\0\0\0\0avis"),
        *(
            b"II*\0\x08\0\0\0",
            b"MM\0*\0\0\0\x08",
            b"II+\0\x08\0\0\0",
            b"\xff\x4f\xff\x51\0\x2f",
            b"P6\n# made by hand\n4 3\n255\n",
        ),
        *(b"P5 4 3 255\n", b"\xff\xd8\xff\xe1", b"BM" + bytes(12) + b"\x28\0\0\0", b"RIFF\x24\0\0\0WEBPVP8X"),
    ],
)
def test_images_by_their_first_bytes(start: bytes) -> None:
    assert content_of(start) == "picture"


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        *(("a.mp4", "libx264"), ("a.mov", "libx264"), ("a.mkv", "libx264"), ("a.webm", "libvpx"), ("a.avi", "mpeg4")),
        *(("a.ts", "libx264"), ("a.flv", "flv"), ("a.wmv", "wmv2")),
        *(("a.gif", "gif"), ("a.y4m", "rawvideo"), ("a.ivf", "libvpx"), ("a.mjpeg", "mjpeg")),
    ],
)
def test_videos_are_videos_whatever_their_name(tmp_path: Path, name: str, codec: str) -> None:
    options = {"gif": "rgb8", "mjpeg": "yuvj420p"}
    made = write_video(tmp_path / name, every(0.04, 3), codec=codec, pix_fmt=options.get(codec, "yuv420p"))
    assert content_of_file(str(made)) == "video"
    for other in ("video", "video.dat", *(["video.jpg"] if codec != "mjpeg" else [])):
        made = made.replace(tmp_path / other)
        assert source_kind(str(made)) == "file"


@pytest.mark.parametrize(
    ("start", "content"),
    [
        *(
            (b"#EXTM3U\n#EXT-X-VERSION:3\n", "hls"),
            (b"--frame\r\nContent-Type: image/jpeg\r\n", "multipart"),
            (b"\r\n--x", "multipart"),
        ),
        *((b"<!DOCTYPE html><title>Log in</title>", "page"), (b"\xef\xbb\xbf\n <HTML lang=en>", "page")),
        *(
            (b"", None),
            (b"\xff\xd8", None),
            (b"no picture", None),
            (b"BMW is a car, and this is text", None),
            (b"PK\x03\x04", None),
        ),
        *((b"P7 is no format of ours", None), (b"P6", None), (b"RIFF\x24\0\0\0WAVEfmt ", None), (bytes(64), None)),
        (b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011">', None),
    ],
)
def test_what_is_neither(start: bytes, content: str | None) -> None:
    assert content_of(start) == content


@pytest.mark.parametrize("name", ["picture", "picture.mp4", "picture.dat", "picture.jpg", "picture.gif", "picture.mjpeg"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_an_image_is_one_whatever_its_name(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).write_bytes(saved(kind))
    assert source_kind(str(tmp_path / name)) == "images"


@pytest.mark.parametrize(("name", "kind"), [("text.jpg", "images"), ("text.mp4", "file"), ("text", "file")])
def test_where_the_bytes_do_not_say_the_name_does(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).write_text("neither the one nor the other")
    assert source_kind(str(tmp_path / name)) == kind


def test_nothing_but_files_is_opened(tmp_path: Path) -> None:
    """Whoever opens a pipe to look into it waits, and takes away what somebody else is to read."""
    os.mkfifo(tmp_path / "pipe.jpg")
    assert content_of_file(str(tmp_path / "pipe.jpg")) is None
    assert [source_kind(str(tmp_path / "pipe.jpg")), source_kind("/dev/null"), source_kind("a\0b")] == [
        "pipe",
        "file",
        "file",
    ]
