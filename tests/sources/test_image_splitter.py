"""Images among other bytes: the same ones for any chunks, and never more memory than one image may take."""

from collections.abc import Callable, Iterable
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskstream.io.jpeg import JPEG_START
from maskstream.sources.image_splitter import ImageSplitter
from tests import jpegs

LONGEST = 100_000
KINDS = (
    jpegs.jpeg,
    jpegs.progressive,
    jpegs.one_channel,
    jpegs.with_restarts,
    jpegs.with_thumbnail,
    jpegs.without_tables,
    jpegs.png,
)
BETWEEN = (
    b"",
    b"\r\n--b\r\nContent-Type: image/jpg\r\nContent-Length: 7\r\n\r\n",
    b"\0" * 700,
    b"\xff" * 3,
    b"\xff\xd8",
    b'\n{"fps": 5}\n',
    b"\x89PNG",
    b"\xff\xd9",
)
images = st.builds(lambda kind, index: kind(index), st.sampled_from(KINDS), st.integers(0, 10))
streams = st.lists(st.tuples(st.sampled_from(BETWEEN), images), max_size=5)


def found(pieces: Iterable[bytes], longest: int = LONGEST) -> list[bytes]:
    splitter = ImageSplitter(longest)
    return [image for piece in pieces for image in splitter.push(piece)]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut bytes into consecutive chunks."""
    borders = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[first:last] for first, last in pairwise(borders)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_image_is_found_byte_by_byte(kind: Callable[[int], bytes]) -> None:
    data = kind(1) + b"\r\n--b\r\n\r\n" + kind(2)
    assert found(data[at : at + 1] for at in range(len(data))) == [kind(1), kind(2)]


@given(streams, st.lists(st.integers(min_value=0), max_size=20))
def test_images_are_the_same_for_any_chunks(parts: list[tuple[bytes, bytes]], places: list[int]) -> None:
    data = b"".join(between + image for between, image in parts)
    assert found(cut(data, places)) == [image for _, image in parts]


@given(st.lists(st.one_of(st.binary(max_size=300), st.sampled_from([JPEG_START, b"\xff\xda", b"\xff\xd9", *BETWEEN]), images)))
def test_garbage_takes_bounded_memory(pieces: list[bytes]) -> None:
    splitter = ImageSplitter(2000)
    for piece in pieces:
        assert all(len(image) <= 2000 + len(piece) for image in splitter.push(piece))
        assert len(splitter._data) <= 2000
    again = ImageSplitter(LONGEST)
    together = found([b"".join(pieces)], LONGEST)
    assert [image for piece in pieces for image in again.push(piece)] == together


def test_a_jpeg_without_end_ends_where_the_next_one_starts() -> None:
    head = b"\r\n--b\r\nContent-Type: image/jpeg\r\n\r\n"
    data = b"".join(head + jpegs.without_end(index) for index in range(3)) + head
    assert found([data]) == [jpegs.without_end(0), jpegs.without_end(1)]


def test_half_an_image_does_not_lose_the_next_one() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (120, 160, 3), np.uint8)
    large = cv2.imencode(".jpg", noise)[1].tobytes()
    assert found([large[: len(large) // 2], b"\r\n--b\r\n\r\n", jpegs.jpeg(1), jpegs.jpeg(2)])[1:] == [
        jpegs.jpeg(1),
        jpegs.jpeg(2),
    ]


def test_an_image_that_is_too_long_is_skipped() -> None:
    small = jpegs.jpeg(1)
    noise = np.random.default_rng(1).integers(0, 256, (400, 400, 3), np.uint8)
    large = cv2.imencode(".png", noise)[1].tobytes()
    assert found([large, b"\r\n", small], longest=len(small) + 100) == [small]
