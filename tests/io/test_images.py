import os
import stat
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from threading import Barrier
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile
from PIL.PngImagePlugin import PngInfo

from maskstream.errors import SinkError, SourceError
from maskstream.io import images as images
from maskstream.io.file_names import natural_order
from maskstream.io.files import one_line
from maskstream.io.image_formats import IMAGE_SUFFIXES, WRITABLE_SUFFIXES
from maskstream.io.images import image_size, read_image, write_image
from maskstream.types import BgrImage
from tests.disks import files_at_most
from tests.slowness import LONGEST_S
from tests.video_files import four_corners, plain

UPRIGHT = four_corners((48, 32))
RGB = Image.fromarray(UPRIGHT[..., ::-1].copy())
GREYS = np.repeat(np.repeat(np.array([[40, 90], [160, 250]], np.uint8), 16, 0), 24, 1)
LOSSY = {".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif"}
STORED: dict[int, Callable[[BgrImage], BgrImage]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}
"""The stored picture of an upright one, by EXIF orientation: where its row 0 and column 0 are shown (Exif 2.32, tag 0x0112)."""


def saved(path: Path, image: Image.Image, kind: str | None = None, **options: Any) -> str:
    image.save(path, kind, **options)
    return str(path)


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def cv2_encoded(suffix: str, pixels: np.ndarray) -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()


def close_to(got: BgrImage, expected: BgrImage, tolerance: int) -> bool:
    """Compare the middles of the four colours: at their edges, lossy formats blur."""
    assert got.shape == expected.shape
    rows, columns = (slice(side // 4, None, side // 2) for side in expected.shape[:2])
    return np.allclose(got[rows, columns].astype(int), expected[rows, columns].astype(int), atol=tolerance)


def why(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        read_image(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def why_no_size(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        image_size(str(path))
    return str(caught.value)


def shown_size(path: str) -> tuple[int, int]:
    height, width = read_image(path).shape[:2]
    return width, height


@pytest.mark.parametrize("suffix", WRITABLE_SUFFIXES)
def test_written_and_read_again(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture{suffix}"
    write_image(path, UPRIGHT)
    bgr = read_image(str(path))
    assert close_to(bgr, UPRIGHT, 6 if suffix in LOSSY else 0)
    assert image_size(str(path)) == (48, 32)
    assert bgr.dtype == np.uint8
    assert bgr.flags.c_contiguous
    assert bgr.flags.writeable  # torch warns otherwise


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("P", "png"), ("P", "bmp"), ("RGBA", "png"), ("RGBA", "webp"), ("CMYK", "jpg"), ("CMYK", "tif"), ("YCbCr", "tif")],
)
def test_colour_modes(tmp_path: Path, mode: str, suffix: str) -> None:
    path = saved(tmp_path / f"picture.{suffix}", RGB.convert(mode), **({"lossless": True} if suffix == "webp" else {}))
    assert close_to(read_image(path), UPRIGHT, 6)


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".jp2", ".ppm"])
def test_16_bits_per_colour(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture{suffix}"
    colours = np.clip(four_corners((128, 128)), 30, 200)  # nothing that would look right where it is cut off
    path.write_bytes(cv2_encoded(suffix, colours.astype(np.uint16) * 257))
    assert close_to(read_image(str(path)), colours, 1)


GREY_FILES: dict[str, Callable[[], bytes]] = {
    "8 bits": lambda: encoded(Image.fromarray(GREYS), "PNG"),
    "JPEG": lambda: encoded(Image.fromarray(GREYS), "JPEG"),
    "16 bits, PNG": lambda: cv2_encoded(".png", GREYS.astype(np.uint16) * 257),
    "16 bits, TIFF": lambda: encoded(Image.fromarray(GREYS.astype("<u2") * 257), "TIFF"),
    "16 bits, big-endian TIFF": lambda: encoded(Image.fromarray((GREYS.astype(np.uint16) * 257).astype(">u2")), "TIFF"),
    "16 bits, PGM": lambda: cv2_encoded(".pgm", GREYS.astype(np.uint16) * 257),
    "32 bits of 16": lambda: encoded(Image.fromarray(GREYS.astype(np.int32) * 257), "TIFF"),
    "floating point": lambda: encoded(Image.fromarray(GREYS.astype(np.float32) / 255), "TIFF"),
}


@pytest.mark.parametrize("kind", GREY_FILES)
def test_grey(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "picture"
    path.write_bytes(GREY_FILES[kind]())
    assert close_to(read_image(str(path)), np.dstack([GREYS] * 3), 1)


@pytest.mark.parametrize("values", [[[-500, 0], [1e6, 2e6]], [[0, 1], [3.5, 70]]], ids=["negative", "brighter than white"])
def test_values_beyond_any_range_are_scaled_not_cut_off(tmp_path: Path, values: list[list[float]]) -> None:
    path = saved(tmp_path / "picture.tif", Image.fromarray(np.array(values, np.float32)))
    levels = read_image(path)[..., 0].ravel().tolist()
    assert levels == sorted(levels)
    assert (levels[0], levels[-1]) == (0, 255)
    assert levels[2] < 150


def test_what_is_no_number_is_black(tmp_path: Path) -> None:
    path = saved(tmp_path / "picture.tif", Image.fromarray(np.array([[np.nan, 0.5, 1, np.inf]], np.float32)))
    assert read_image(path)[0, :, 0].tolist() == [0, 128, 255, 0]


def test_one_bit(tmp_path: Path) -> None:
    path = saved(tmp_path / "picture.png", Image.fromarray(GREYS > 100))
    assert close_to(read_image(path), np.dstack([(GREYS > 100) * np.uint8(255)] * 3), 0)


def see_through(mode: str) -> Image.Image:
    """Return red that is opaque, half transparent and, from the left, ever less there."""
    image = Image.new("RGBA", (3, 1))
    image.putdata([(255, 0, 0, 255), (255, 0, 0, 128), (255, 0, 0, 0)])
    return image.convert(mode)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (see_through("RGBA"), [(0, 0, 255), (127, 127, 255), (255, 255, 255)]),
        (see_through("LA"), [(76, 76, 76), (165, 165, 165), (255, 255, 255)]),
        (see_through("RGBA").quantize(), [(0, 0, 255), (127, 127, 255), (255, 255, 255)]),
    ],
    ids=["RGBA", "LA", "palette"],
)
def test_transparent_is_over_white(tmp_path: Path, image: Image.Image, expected: list[tuple[int, int, int]]) -> None:
    path = saved(tmp_path / "picture.png", image)
    assert np.allclose(read_image(path)[0].astype(int), expected, atol=1)


@pytest.mark.parametrize(("mode", "key"), [("RGB", (255, 0, 0)), ("L", 76), ("P", 0)])
def test_colour_that_means_transparent(tmp_path: Path, mode: str, key: object) -> None:
    image = Image.new(mode, (2, 1), key)
    image.putpixel((1, 0), 1)
    if mode == "P":
        image.putpalette([255, 0, 0, 0, 0, 0])
    path = saved(tmp_path / "picture.png", image, transparency=key)
    assert read_image(path)[0, 0].tolist() == [255, 255, 255]
    assert read_image(path)[0, 1].tolist() != [255, 255, 255]


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", *(["avif"] if ".avif" in WRITABLE_SUFFIXES else [])])
@pytest.mark.parametrize("orientation", STORED)
def test_orientation(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](UPRIGHT)[..., ::-1]))
    path = saved(tmp_path / f"picture.{suffix}", stored, exif=exif)
    bgr = read_image(path)
    assert close_to(bgr, UPRIGHT, 20)
    assert bgr.flags.c_contiguous
    assert image_size(path) == (48, 32)


def test_orientation_from_xmp(tmp_path: Path) -> None:
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", '<rdf:Description tiff:Orientation="3"/>')
    path = saved(tmp_path / "picture.png", Image.fromarray(UPRIGHT[::-1, ::-1, ::-1].copy()), pnginfo=text)
    assert close_to(read_image(path), UPRIGHT, 0)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("exif", [b"no header at all", b"MM\0*\0\0\0\x08\0\x01\x01\x12", b"II*\0"])
def test_damaged_metadata_does_not_lose_the_image(tmp_path: Path, exif: bytes, suffix: str) -> None:
    path = saved(tmp_path / f"picture.{suffix}", RGB, exif=b"Exif\0\0" + exif, quality=95)
    assert close_to(read_image(path), UPRIGHT, 6)


def test_first_image_of_an_animation(tmp_path: Path) -> None:
    path = saved(tmp_path / "picture.webp", RGB, save_all=True, append_images=[RGB.rotate(180)], lossless=True)
    assert close_to(read_image(path), UPRIGHT, 0)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (5, 3), (7680, 4320)])
def test_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "picture.bmp"
    picture = plain((10, 20, 30), size)
    picture[-1, -1] = (40, 50, 60)
    write_image(path, picture)
    assert np.array_equal(read_image(str(path)), picture)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_limit_of_pillow_is_neither_met_nor_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    path = saved(tmp_path / f"picture.{suffix}", RGB)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert read_image(path).shape == UPRIGHT.shape
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize("tags", [{254: 1}, {50706: b"\1\4\0\0"}])
def test_camera_raw_is_not_judged_by_the_small_copy_in_it(tmp_path: Path, tags: dict[int, object]) -> None:
    path = tmp_path / "photo.nef"
    Image.fromarray(UPRIGHT[..., ::-1]).save(path, "TIFF", tiffinfo=tags)
    assert why(path) == why_no_size(path) == "camera raw is not read; develop it as JPEG"


def test_camera_raw_of_canon(tmp_path: Path) -> None:
    path = tmp_path / "photo.cr2"
    path.write_bytes(b"II*\0\x10\0\0\0CR\2\0" + bytes(100))
    assert why(path) == why_no_size(path) == "camera raw is not read; develop it as JPEG"


def claiming(path: Path, width: int, height: int) -> Path:
    """Write a small PNG that says to be larger."""
    header = b"IHDR" + struct.pack(">2L5B", width, height, 8, 2, 0, 0, 0)
    png = encoded(RGB, "PNG")
    path.write_bytes(png[:12] + header + struct.pack(">L", zlib.crc32(header)) + png[33:])
    return path


def test_what_is_large_and_allowed_is_no_reason_to_warn(tmp_path: Path) -> None:
    """Pillow would, on standard error; here that is an error."""
    assert image_size(str(claiming(tmp_path / "picture.png", 24_000, 20_000))) == (24_000, 20_000)


def test_more_than_can_be_held(tmp_path: Path) -> None:
    path = claiming(tmp_path / "picture.png", 25_000, 25_000)
    assert why(path) == why_no_size(path) == "it has more than 500 megapixels; scale it down"


def with_chunk(png: bytes, kind: bytes, content: bytes, at: bytes) -> bytes:
    """Put a chunk before the first one of the kind `at`."""
    chunk = struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))
    place = png.index(at) - 4
    return png[:place] + chunk + png[place:]


@pytest.mark.parametrize("at", [b"IDAT", b"IEND"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_size_of_png_with_metadata_before_and_behind_its_pixels(tmp_path: Path, at: bytes, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / "picture.png"
    path.write_bytes(with_chunk(encoded(RGB, "PNG"), b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"), at))
    assert image_size(str(path)) == shown_size(str(path)) == ((48, 32) if orientation == 1 else (32, 48))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_size_with_an_orientation_that_there_is_not(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = saved(tmp_path / "picture.jpg", RGB, exif=exif)
    assert image_size(path) == shown_size(path) == (48, 32)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_size_needs_no_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    path = saved(tmp_path / f"picture.{suffix}", RGB)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)  # decodes
    assert image_size(path) == (48, 32)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_size_of_what_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    for name in ("empty.jpg", "text.jpg", "photo.heic", "missing.jpg", "."):
        assert why_no_size(tmp_path / name) == why(tmp_path / name)


def test_natural_order() -> None:
    names = ["1.png", "2/a10.png", "2/a11", "2.png", "10.png", "A.png", "b.png", "picture_2.png", "picture_10.png"]
    assert natural_order(reversed(names)) == natural_order(names) == names


TRUNCATED = ["jpg", "png", "webp", "bmp", "tif", "jp2", "ppm", *(["avif"] if ".avif" in WRITABLE_SUFFIXES else [])]


@pytest.mark.parametrize("suffix", TRUNCATED)
@pytest.mark.parametrize("left", [0.1, 0.5, 0.9])
def test_truncated(tmp_path: Path, suffix: str, left: float) -> None:
    path = tmp_path / f"picture.{suffix}"
    write_image(path, np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * left)])
    assert why(path).startswith(("the file is truncated", "cannot be decoded: ", "not an image, damaged, "))


def test_whatever_is_damaged_has_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    whole = encoded(RGB.quantize(), "PNG")
    outcomes = set()
    for at in range(8, 80):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            outcomes.add(str(read_image(str(path)).shape))
        except SourceError as error:
            outcomes.add(str(error))
    assert len(outcomes) > 3
    assert "\n" not in "".join(outcomes)


def test_empty(tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.touch()
    assert why(path) == "the file is empty; copy it again"


def test_text_that_is_called_an_image(tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.write_text("no picture")
    assert why(path) == "not an image, damaged, or in a format that is not read; convert it to JPEG"


@pytest.mark.parametrize("name", ["photo.heic", "photo.HEIF", "photo.jpg"])
def test_heic(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    assert why(path) == "HEIC is not read; convert it to JPEG"


def test_jpeg_that_is_called_heic(tmp_path: Path) -> None:
    path = saved(tmp_path / "picture.heic", RGB, "JPEG", quality=95)
    assert close_to(read_image(path), UPRIGHT, 6)


def test_no_file(tmp_path: Path) -> None:
    assert why(tmp_path / "picture.jpg") == "cannot be read: No such file or directory; check the file"


def test_what_would_never_end_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert why(tmp_path / "pipe.jpg") == why(tmp_path) == "not a file; give an image"


def test_documents_are_not_run(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n")
    assert "not an image" in why(path)


def test_only_what_can_be_written_and_heic_counts_as_image() -> None:
    readable = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN and kind in Image.SAVE}
    assert set(WRITABLE_SUFFIXES) <= readable
    assert set(IMAGE_SUFFIXES) - set(WRITABLE_SUFFIXES) == {".heic", ".heif"}
    assert ".gif" not in IMAGE_SUFFIXES


def test_nothing_but_pixels_is_written(tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    write_image(path, UPRIGHT)
    with Image.open(path) as image:
        assert not image.getexif()
        assert image.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


@pytest.mark.parametrize("suffix", sorted(LOSSY & set(WRITABLE_SUFFIXES)))
def test_lossy_formats_lose_little(tmp_path: Path, suffix: str) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (9, 16, 3), np.uint8)
    picture = cv2.resize(colours, (160, 90), interpolation=cv2.INTER_CUBIC)
    write_image(tmp_path / f"picture{suffix}", picture)
    difference = read_image(str(tmp_path / f"picture{suffix}")).astype(int) - picture
    assert abs(difference).mean() < 3


def test_failure_leaves_the_old_image(tmp_path: Path) -> None:
    path = tmp_path / "picture.bmp"
    write_image(path, UPRIGHT)
    old = path.read_bytes()
    with files_at_most(500), pytest.raises(SinkError, match=r"picture\.bmp: cannot be written: File too large; make room"):
        write_image(path, plain((0, 0, 0), (200, 200)))
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_too_large_for_the_format(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="choose another format"):
        write_image(tmp_path / "picture.webp", plain((0, 0, 0), (17000, 1)))
    assert list(tmp_path.iterdir()) == []


def test_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to("picture.png")
    write_image(tmp_path / "link.png", UPRIGHT)
    assert (tmp_path / "link.png").is_symlink()
    assert close_to(read_image(str(tmp_path / "picture.png")), UPRIGHT, 0)


def test_others_may_read_what_is_written(tmp_path: Path) -> None:
    write_image(tmp_path / "picture.png", UPRIGHT)
    (tmp_path / "touched").touch()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


@pytest.mark.parametrize(
    ("path", "line"), [("a b:ü.jpg", "a b:ü.jpg"), ("a\nb.jpg", r"a\nb.jpg"), (os.fsdecode(b"a\xff.jpg"), r"a\udcff.jpg")]
)
def test_one_line(path: str, line: str) -> None:
    assert one_line(path) == line


def test_threads_read_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(4):
        write_image(tmp_path / f"{index}.png", np.full((8, 8, 3), index, np.uint8))
    meeting, decode, before = Barrier(4, timeout=60), images._decode, Image.MAX_IMAGE_PIXELS

    def meet(file: Any) -> Any:
        meeting.wait()  # broken where one reader keeps the others out
        assert Image.MAX_IMAGE_PIXELS is None
        found = decode(file)
        if found[0, 0, 0] == 3:
            raise OSError("damaged")
        return found

    monkeypatch.setattr(images, "_decode", meet)

    def read(index: int) -> int:
        try:
            return int(read_image(str(tmp_path / f"{index}.png"))[0, 0, 0])
        except SourceError:
            return -1

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, range(4))) == [0, 1, 2, -1]
    assert before == Image.MAX_IMAGE_PIXELS


def test_very_large_images_are_decoded_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_READ_ALONE_FROM_PIXELS", 64)
    write_image(tmp_path / "large.png", np.full((8, 8, 3), 7, np.uint8))
    write_image(tmp_path / "small.png", np.full((7, 8, 3), 7, np.uint8))
    with ThreadPoolExecutor(1) as pool:
        with images._READING_ALONE:
            assert read_image(str(tmp_path / "small.png")).shape == (7, 8, 3)
            large = pool.submit(read_image, str(tmp_path / "large.png"))
            with pytest.raises(TimeoutError):
                large.result(timeout=0.05)
        assert large.result(timeout=LONGEST_S).shape == (8, 8, 3)
