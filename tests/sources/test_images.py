import os
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic

import numpy as np
import pytest
from loguru import logger
from PIL import Image, TiffImagePlugin

from maskstream.config.schema import ImagesConfig
from maskstream.errors import SourceOpenError
from maskstream.io.image_formats import IMAGE_SUFFIXES, WRITABLE_SUFFIXES
from maskstream.io.images import write_image
from maskstream.sources import ImageSource, source_kind
from maskstream.types import Frame, SourceInfo
from tests.image_files import make
from tests.slowness import LONGEST_S
from tests.video_files import four_corners, grey, grey_index

FLAT, RECURSIVE = ImagesConfig(recursive=False, max_megapixels=250), ImagesConfig(recursive=True, max_megapixels=250)
NOT_TEXT = os.fsdecode(b"\xff.png")


@pytest.fixture
def said() -> Iterator[list[tuple[str, str]]]:
    """Level and message of each log line."""
    lines: list[tuple[str, str]] = []
    handler = logger.add(lambda message: lines.append((message.record["level"].name, message.record["message"])))
    yield lines
    logger.remove(handler)


def make_unreadable(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def read(location: str, config: ImagesConfig = FLAT) -> tuple[SourceInfo, list[Frame]]:
    with closing(ImageSource(location, config)) as source:
        return source.info, list(source)


def files_of(location: str, config: ImagesConfig = FLAT) -> list[str]:
    info, frames = read(location, config)
    assert [frame.file for frame in frames] == list(info.images)
    assert info.frame_count == len(frames)
    return list(info.images)


def refusal(location: str, config: ImagesConfig = FLAT) -> str:
    with pytest.raises(SourceOpenError) as caught:
        ImageSource(location, config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_one_image(folder: Path) -> None:
    write_image(Path("photo.png"), four_corners((64, 32)))
    info, frames = read("photo.png")
    assert info == SourceInfo("photo.png", 64, 32, live=False, frame_count=1, path="photo.png", images=("photo.png",))
    (frame,) = frames
    assert np.array_equal(frame.bgr, four_corners((64, 32)))
    assert (frame.index, frame.source_id, frame.file) == (0, "photo.png", "photo.png")
    assert (frame.time_s, frame.duration_s, frame.wall_time) == (0, 0, None)
    assert 0 < frame.capture_ms < 10_000
    assert monotonic() - 10 < frame.captured_at_s <= monotonic()


def test_a_folder_in_natural_order(folder: Path) -> None:
    names = ["1.png", "2.png", "10.png", "A.png", "b.png", "C.png", "picture_2.png", "picture_10.png", "picture_10b.png"]
    make(*(f"photos/{name}" for name in names))
    info, frames = read("photos")
    assert list(info.images) == [f"photos/{name}" for name in names]
    assert [grey_index(frame.bgr) for frame in frames] == [frame.index for frame in frames] == list(range(len(names)))
    assert (info.path, info.frame_count, info.width, info.height) == ("photos", len(names), 64, 48)


def test_each_image_has_its_own_size(folder: Path) -> None:
    sizes = [(1, 1), (3, 5), (640, 480)]
    for index, size in enumerate(sizes):
        write_image(Path(f"{index}.png"), grey(index, size))
    info, frames = read(".")
    assert [(frame.width, frame.height) for frame in frames] == sizes
    assert (info.width, info.height) == sizes[0]


def test_a_name_for_records(folder: Path) -> None:
    make("photo.png")
    with closing(ImageSource("photo.png", FLAT, "door")) as source:
        assert (source.info.source_id, next(iter(source)).source_id) == ("door", "door")


def test_hidden_and_other_files_are_skipped(folder: Path) -> None:
    make("photos/a.png", "photos/sub/b.png", "photos/.hidden.png", "photos/.thumbs/c.png", "photos/sub/.d.png")
    make_unreadable("photos/._a.png", "photos/clip.mp4", "photos/notes.txt", "photos/moving.gif", "photos/png")
    assert files_of("photos") == ["photos/a.png"]
    assert files_of("photos", RECURSIVE) == ["photos/a.png", "photos/sub/b.png"]


def test_folders_of_a_folder_in_natural_order(folder: Path) -> None:
    names = ["p/1/x.png", "p/2/a.png", "p/2/b.png", "p/3.png", "p/10/x.png"]
    make(*names)
    (folder / "p" / "folder.png").mkdir()
    assert files_of("p", RECURSIVE) == names


def test_the_user_spells_the_path(folder: Path) -> None:
    make("photos/a.png")
    assert files_of("./photos/") == ["./photos/a.png"]
    assert files_of(str(folder / "photos")) == [str(folder / "photos" / "a.png")]
    assert files_of("./photos/*.png") == ["./photos/a.png"]


@pytest.mark.parametrize("suffix", sorted({*WRITABLE_SUFFIXES, *map(str.upper, WRITABLE_SUFFIXES)}))
def test_suffixes(folder: Path, suffix: str) -> None:
    make(f"photo{suffix}")
    assert files_of(".") == files_of("./*") == [f"./photo{suffix}"]


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("p/*.png", "p", ["p/2.png", "p/10.png"]),
        ("p/*", "p", ["p/2.png", "p/3.jpg", "p/10.png"]),
        ("p/**/*.png", "p", ["p/2.png", "p/10.png", "p/sub/1.png"]),
        ("**/1*.png", ".", ["p/10.png", "p/sub/1.png"]),
        ("p/[23].*", "p", ["p/2.png", "p/3.jpg"]),
        ("?/sub/1.png", ".", ["p/sub/1.png"]),
    ],
)
def test_patterns(folder: Path, pattern: str, path: str, expected: list[str]) -> None:
    make("p/10.png", "p/2.png", "p/3.jpg", "p/sub/1.png", "p/.hidden.png")
    make_unreadable("p/notes.txt")
    Path("p/folder.png").mkdir()
    info, frames = read(pattern)
    assert list(info.images) == [frame.file for frame in frames] == expected
    assert info.path == path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("p/img_%04d.png", ["p/img_0007.png", "p/img_0012.png", "p/img_10000.png"]),
        ("p/img_%d.png", ["p/img_8.png", "p/img_10.png", "p/img_10000.png"]),
        ("p/img_%2d.png", ["p/img_10.png", "p/img_10000.png"]),
        ("p/fill_%3d.png", ["p/fill_  1.png", "p/fill_002.png"]),  # as C and as FFmpeg write it
        ("p/%d.png", ["p/1.png"]),
        ("./p/frame[%02d].png", ["./p/frame[03].png"]),
    ],
)
def test_patterns_of_a_number(folder: Path, pattern: str, expected: list[str]) -> None:
    numbered = ["0007", "0012", "10000", "10", "8", "x", "007", "0007b", "-1"]
    make(*(f"p/img_{number}.png" for number in numbered), "p/fill_002.png", "p/fill_  1.png", "p/frame[03].png", "p/1.png")
    assert source_kind(pattern) == "images"
    info, frames = read(pattern)
    assert list(info.images) == [frame.file for frame in frames] == expected
    assert info.path == str(Path(pattern).parent)


def test_a_pattern_of_a_number_in_this_folder(folder: Path) -> None:
    make("img_2.png", "img_10.png", "img_%d.jpg")
    assert files_of("img_%d.png") == ["img_2.png", "img_10.png"]
    assert files_of("img_%d.jpg") == ["img_%d.jpg"]


def several_pages(path: str, kind: str, count: int, **options: object) -> None:
    pages = [Image.fromarray(grey(number)[..., ::-1]) for number in range(count)]
    pages[0].save(path, kind, save_all=True, append_images=pages[1:], **options)


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        *(("scan.tif", "TIFF", {}), ("moving.png", "PNG", {}), ("moving.webp", "WEBP", {}), ("both eyes.jpg", "MPO", {})),
        *([("moving.avif", "AVIF", {})] if ".avif" in IMAGE_SUFFIXES else []),
        ("scan", "TIFF", {}),
    ],
)
def test_a_warning_that_only_the_first_image_is_classified(
    folder: Path, said: list[tuple[str, str]], name: str, kind: str, options: dict[str, object]
) -> None:
    several_pages(name, kind, 3, **options)
    assert source_kind(name) == "images"
    info, (frame,) = read(name)
    assert (grey_index(frame.bgr), info.frame_count) == (0, 1)
    (line,) = said
    assert line[0] == "WARNING"
    assert line[1].startswith(f"{name}: the file has 3 images or pages, and only the first is classified; save the others")


def test_in_a_folder_each_file_has_its_warning(folder: Path, said: list[tuple[str, str]]) -> None:
    make("photos/1.png", "photos/4.png")
    several_pages("photos/2.tif", "TIFF", 130)
    several_pages("photos/3.webp", "WEBP", 2)
    assert len(read("photos")[1]) == 4
    assert [line.partition(",")[0] for _, line in said] == [
        "photos/2.tif: the file has 100 or more images or pages",
        "photos/3.webp: the file has 2 images or pages",
    ]


def test_previews_and_gain_maps_are_no_further_images(folder: Path, said: list[tuple[str, str]]) -> None:
    photo, smaller = (Image.fromarray(grey(number, size)) for number, size in enumerate([(64, 48), (32, 24)]))
    photo.save("phone.jpg", "MPO", save_all=True, append_images=[smaller])
    with TiffImagePlugin.AppendingTiffWriter("reduced.tif", new=True) as file:
        for image, kind in ((photo, 0), (smaller, 1), (photo.convert("1"), 4)):
            image.save(file, "TIFF", tiffinfo={254: kind})
            file.newFrame()
    read("phone.jpg")
    read("reduced.tif")
    assert said == []


def test_a_damaged_page_does_not_take_the_first_one_away(folder: Path, said: list[tuple[str, str]]) -> None:
    several_pages("scan.tif", "TIFF", 2)
    data = bytearray(Path("scan.tif").read_bytes())
    first = int.from_bytes(data[4:8], "little")
    link = first + 2 + 12 * int.from_bytes(data[first : first + 2], "little")
    second = int.from_bytes(data[link : link + 4], "little")
    assert 0 < second < len(data) - 60
    data[second : second + 60] = b"\xee" * 60
    Path("scan.tif").write_bytes(data)
    _, (frame,) = read("scan.tif")
    assert grey_index(frame.bgr) == 0


def test_a_file_with_exactly_that_name_is_preferred(folder: Path) -> None:
    make("photo[1].png", "photo1.png")
    assert files_of("photo[1].png") == ["photo[1].png"]
    assert files_of("photo[12].png") == ["photo1.png"]
    make("[ab]/c.png", "a/c.png")
    assert files_of("[ab]") == ["[ab]/c.png"]


@pytest.mark.parametrize("name", ["a b.png", "a:b.png", "http:.png", "-.png", "a\nb.png", "ü%d.png", NOT_TEXT])
def test_unusual_names(folder: Path, name: str) -> None:
    make(f"photos/{name}")
    assert files_of(f"photos/{name}") == files_of("photos") == files_of("photos/*") == [f"photos/{name}"]


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("missing.jpg", "missing.jpg: no such file; check the path"),
        ("", ": no such file; check the path"),
        ("missing/*.jpg", "missing/*.jpg: no file matches; images end in .jpg"),
        ("img_%04d.jpg", "img_%04d.jpg: no file matches; images end in .jpg"),
        ("missing/img_%d.jpg", "missing/img_%d.jpg: no file matches; images end in .jpg"),
        ("others/part%d.mp4", "others/part%d.mp4: none of the 2 files that match is an image; images end in .jpg"),
        ("others/*", "others/*: none of the 4 files that match is an image; images end in .jpg"),
        ("others", "others: no image in this folder; images end in .jpg"),
        ("nested", "nested: its images are all in subfolders; add --recursive"),
        ("empty.jpg", "empty.jpg: the file is empty; copy it again"),
        ("gone.jpg", "gone.jpg: cannot be read: No such file or directory; check the file"),
        ("one", "one/a.jpg: the file is empty; copy it again"),
        ("a\nb.jpg", r"a\nb.jpg: no such file; check the path"),
    ],
)
def test_what_cannot_be_opened(folder: Path, location: str, words: str) -> None:
    make_unreadable("others/notes.txt", "others/clip.mp4", "others/part1.mp4", "others/part2.mp4", "empty.jpg", "one/a.jpg")
    make("nested/sub/a.png")
    Path("gone.jpg").symlink_to("nowhere.jpg")
    assert refusal(location).startswith(words)


def test_none_can_be_read(folder: Path, said: list[tuple[str, str]]) -> None:
    make_unreadable("photos/1.jpg", "photos/3.jpg", "photos/4.jpg", "photos/5.jpg")
    Path("photos/2.heic").write_bytes(b"\0\0\0\x18ftypheic")
    empty = "the file is empty; copy it again"
    assert refusal("photos") == (
        "photos: none of its 5 images can be read: "
        f"1.jpg ({empty}), 2.heic (HEIC is not read; convert it to JPEG), 3.jpg ({empty}) and 2 more"
    )
    assert said == []


EMPTY_LINES = [
    ("ERROR", "photos: 2 of 4 images cannot be read:"),
    ("ERROR", "photos/1.png: the file is empty; copy it again"),
    ("ERROR", "photos/3.png: the file is empty; copy it again"),
]


def test_unreadable_images_are_logged_at_the_end(folder: Path, said: list[tuple[str, str]]) -> None:
    make_unreadable("photos/1.png", "photos/3.png")
    make("photos/2.png", "photos/4.png")
    with closing(ImageSource("photos", FLAT)) as source:
        frames = iter(source)
        assert [next(frames).index, next(frames).index] == [1, 3]
        assert said == []
        assert list(frames) == []
        assert said == EMPTY_LINES
        assert (source.info.frame_count, len(source.info.images)) == (4, 4)
    assert said == EMPTY_LINES


def test_closed_early_it_logs_unreadable_images_so_far(folder: Path, said: list[tuple[str, str]]) -> None:
    make_unreadable("photos/1.png", "photos/3.png")
    make("photos/2.png", "photos/4.png")
    source = ImageSource("photos", FLAT)
    assert next(iter(source)).index == 1
    source.close()
    source.close()
    assert said == [("ERROR", "photos: 1 of 4 images cannot be read:"), EMPTY_LINES[1]]


def test_a_line_for_each_that_cannot_be_read(folder: Path, said: list[tuple[str, str]]) -> None:
    names = ["photos/a\nb.png", "photos/{c}<red>.png", f"photos/{NOT_TEXT}"]
    make_unreadable(*names)
    make("photos/d.png")
    read("photos")
    assert [line.partition(": ")[0] for _, line in said[1:]] == [r"photos/a\nb.png", "photos/{c}<red>.png", r"photos/\udcff.png"]
    assert "\n" not in "".join(line for _, line in said)


def test_an_image_that_is_deleted_meanwhile(folder: Path, said: list[tuple[str, str]]) -> None:
    make("photos/1.png", "photos/2.png")
    with closing(ImageSource("photos", FLAT)) as source:
        Path("photos/2.png").unlink()
        assert [frame.index for frame in source] == [0]
    assert said[1] == ("ERROR", "photos/2.png: cannot be read: No such file or directory; check the file")


def test_the_first_is_decoded_once(folder: Path) -> None:
    make("photos/1.png", "photos/2.png")
    with closing(ImageSource("photos", FLAT)) as source:
        Path("photos/1.png").unlink()
        assert [frame.index for frame in source] == [0, 1]


def test_a_folder_without_permission_is_logged(
    folder: Path, said: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    make("photos/a.png", "photos/locked/b.png")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert files_of("photos", RECURSIVE) == ["photos/a.png"]
    assert said == [("WARNING", "photos/locked: left out: Permission denied")]


def test_close_while_another_thread_reads(folder: Path) -> None:
    make(*(f"photos/{index}.png" for index in range(50)))
    source = ImageSource("photos", FLAT)
    started = threading.Event()
    frames: list[Frame] = []

    def reader() -> None:
        for frame in source:
            frames.append(frame)
            started.set()

    thread = threading.Thread(target=reader)
    thread.start()
    assert started.wait(LONGEST_S)
    source.close()
    thread.join(LONGEST_S)
    assert not thread.is_alive()
    assert 0 < len(frames) <= 50
    assert list(source) == []


def test_images_are_not_modified(folder: Path) -> None:
    make("photo.jpg")
    before = Path("photo.jpg").read_bytes(), Path("photo.jpg").stat().st_mtime_ns
    read("photo.jpg")
    assert (Path("photo.jpg").read_bytes(), Path("photo.jpg").stat().st_mtime_ns) == before


@pytest.mark.parametrize(
    ("location", "kind"),
    [
        *((f"missing{suffix}", "images") for suffix in (*IMAGE_SUFFIXES, ".JPG")),
        *(("photos", "images"), ("photos/", "images"), (".", "images"), ("frames.mp4", "images")),
        *(("photos/*", "images"), ("*.mp4", "images"), ("**", "images"), ("clip[2].mp4", "images")),
        *(("clip[1].mp4", "file"), ("clip.mp4", "file"), ("missing.mp4", "file"), ("moving.gif", "file"), ("missing", "file")),
        *(("img_%04d.jpg", "images"), ("clip_%d.mp4", "images"), ("photos/%20day", "file")),
        *(("0", "webcam"), ("http://host/a.jpg", "url"), ("rtsp://host/*", "url")),
    ],
)
def test_kind(folder: Path, location: str, kind: str) -> None:
    make_unreadable("clip[1].mp4", "clip.mp4", "photos/a.jpg", "frames.mp4/1.png")
    assert source_kind(location) == kind
