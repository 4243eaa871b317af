"""JPEGs as cameras make them, whose grey level tells their number (`tests.video_files.grey`)."""

import cv2

from tests.video_files import grey

SIZE = (160, 120)
_SOI, _DHT = b"\xff\xd8", 0xC4
_SOS = 0xDA


def jpeg(index: int, size: tuple[int, int] = SIZE) -> bytes:
    return cv2.imencode(".jpg", grey(index, size))[1].tobytes()


def progressive(index: int) -> bytes:
    return cv2.imencode(".jpg", grey(index, SIZE), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()


def one_channel(index: int) -> bytes:
    return cv2.imencode(".jpg", grey(index, SIZE)[..., 0])[1].tobytes()


def with_restarts(index: int) -> bytes:
    return cv2.imencode(".jpg", grey(index, SIZE), [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1].tobytes()


def with_thumbnail(index: int) -> bytes:
    """Return one whose EXIF data has a JPEG of another size in it."""
    thumbnail = b"Exif\0\0" + jpeg(index + 3, (32, 24))
    return _SOI + b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + jpeg(index)[2:]


def without_tables(index: int) -> bytes:
    """Return one without Huffman tables, as webcams make them: everybody knows them."""
    data, at, kept = jpeg(index), 2, bytearray(_SOI)
    while data[at + 1] != _SOS:
        behind = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        kept += data[at:behind] if data[at + 1] != _DHT else b""
        at = behind
    return bytes(kept + data[at:])


def without_end(index: int) -> bytes:
    return jpeg(index)[:-2]


def png(index: int) -> bytes:
    return cv2.imencode(".png", grey(index, SIZE))[1].tobytes()
