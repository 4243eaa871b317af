"""Segments of JPEGs: their end, and whether another image follows."""

from io import BytesIO

import cv2
import pytest
from PIL import Image

from maskstream.io.jpeg import JpegSegments, JpegSequenceDetector
from tests.video_files import grey


def jpeg(index: int = 0, size: tuple[int, int] = (64, 48)) -> bytes:
    return cv2.imencode(".jpg", grey(index, size))[1].tobytes()


def saved(**options: object) -> bytes:
    file = BytesIO()
    Image.new("RGB", (40, 30), "red").save(file, "JPEG", **options)
    return file.getvalue()


def with_preview() -> bytes:
    """A JPEG with a JPEG in its metadata, which has its own end."""
    small = jpeg(3, (16, 16))
    exif = b"Exif\0\0" + small
    return b"\xff\xd8\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg(1)[2:]


JPEGS = {
    "plain": jpeg(),
    "with a preview in it": with_preview(),
    "progressive": saved(progressive=True),
    "with restarts": saved(restart_marker_blocks=1),
    "filled up with 0xFF": jpeg()[:2] + b"\xff\xff" + jpeg()[2:],
}


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_the_end_of_a_jpeg_that_arrives_in_chunks(name: str, piece: int) -> None:
    whole = JPEGS[name]
    segments, data, found = JpegSegments(), bytearray(), []
    for at in range(0, len(whole) + 100, piece):
        data += (whole + b"\0" * 100)[at : at + piece]
        found.append(segments.find_end(data))
    assert {place for place in found if place is not None} == {len(whole)}
    assert found.index(len(whole)) == (len(whole) - 1) // piece


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("between", [b"", b"\r\n", b"\0\0"])
def test_a_second_jpeg_after_the_first(name: str, between: bytes) -> None:
    whole = JPEGS[name]
    assert not JpegSequenceDetector().has_second(whole)
    assert not JpegSequenceDetector().has_second(whole + between)
    assert JpegSequenceDetector().has_second(whole + between + jpeg(2))
    assert not JpegSequenceDetector().has_second(whole + b"\0\0\0\x18ftypmp42" + jpeg(2))


def test_a_photo_with_a_second_view_or_a_gain_map_is_one_image() -> None:
    file = BytesIO()
    images = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue")]
    images[0].save(file, "MPO", save_all=True, append_images=images[1:])
    assert file.getvalue().count(b"\xff\xd8\xff") == 2
    assert not JpegSequenceDetector().has_second(file.getvalue())


def test_no_byte_is_read_twice() -> None:
    data, segments = bytearray(jpeg()[:-2]), JpegSegments()
    assert segments.find_end(data) is None
    data[200:400] = b"\xff\xd9" * 100  # already walked
    assert segments.find_end(data) is None
