import os
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from maskstream.config.schema import ImagesConfig
from maskstream.errors import SinkError
from maskstream.io.image_formats import WRITABLE_SUFFIXES
from maskstream.io.images import read_image, write_image
from maskstream.sinks import ImageSink, require_image_target
from maskstream.sources import ImageSource
from maskstream.types import BgrImage, Frame, FrameResult, Output, SourceInfo
from tests.image_files import make
from tests.io.test_images import files_at_most
from tests.video_files import RED, four_corners, grey_index, output_of, plain

RECURSIVE = ImagesConfig(recursive=True, max_megapixels=250)


def annotate(location: str, output: str) -> None:
    """Copy images through source and sink, as a run does."""
    with closing(ImageSource(location, RECURSIVE)) as source, closing(ImageSink(output, source.info)) as sink:
        for frame in source:
            sink.write(output_of(frame))
        sink.source_ended(source.info.source_id)


def info_of(location: str) -> SourceInfo:
    with closing(ImageSource(location, RECURSIVE)) as source:
        return source.info


def refusal(output: str, location: str) -> str:
    """Return why check and sink refuse an output; both change nothing."""
    before, info = tree(), info_of(location)
    for refuse in (require_image_target, ImageSink):
        with pytest.raises(SinkError) as caught:
            refuse(output, info)
        assert "\n" not in str(caught.value)
        assert tree() == before
    return str(caught.value)


def tree() -> dict[str, bytes | None]:
    """Return all files in the current folder."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in Path().rglob("*")}


def files_in(folder: str) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if not path.is_dir())


def painted(frame: Frame) -> Output:
    """Return an output whose faces colour everything red."""

    def paint(frame: Frame, _: FrameResult) -> BgrImage:
        return plain(RED, (frame.width, frame.height))

    return Output(frame, output_of(frame).result, True, paint)


@pytest.mark.parametrize("suffix", [*WRITABLE_SUFFIXES, ".PNG", ".Jpg"])
def test_one_image_to_a_file(folder: Path, suffix: str) -> None:
    write_image(Path("photo.png"), four_corners((64, 32)))
    annotate("photo.png", f"out{suffix}")
    difference = read_image(f"out{suffix}").astype(int) - four_corners((64, 32))
    assert abs(difference[:, np.r_[4:28, 36:60]]).mean() < 3
    with Image.open(f"out{suffix}") as image:
        assert image.format == Image.registered_extensions()[suffix.lower()]


def test_names_and_folders_are_kept(folder: Path) -> None:
    names = ["1.png", "2.JPG", "a/1.png", "a/b/c d.bmp", "ü:%s.tif"]
    make(*(f"photos/{name}" for name in names))
    annotate("photos", "new/out")
    assert files_in("new/out") == sorted(names)
    assert [grey_index(read_image(f"new/out/{name}")) for name in names] == list(range(len(names)))


def test_each_image_has_its_own_path(folder: Path) -> None:
    """Formats that are not written get another suffix, which another image may have."""
    make("photos/a.heic.jpg")
    for name in ("a.heic", "b.heic"):
        Image.new("RGB", (8, 8)).save(f"photos/{name}", "JPEG")
    annotate("photos", "out")
    assert files_in("out") == ["a.heic.jpg", "a.heic_2.jpg", "b.heic.jpg"]
    assert read_image("out/a.heic_2.jpg").shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("location", "output", "expected"),
    [
        ("p/a.png", "out", "out/a.png"),
        ("p/a.png", "there", "there/a.png"),
        ("p/a.png", "there.png", "there.png/a.png"),
        ("p/a.png", "out.d/", "out.d/a.png"),
        ("p/a.png", "new/out.jpg", "new/out.jpg"),
        ("p", "out", "out/a.png"),
        ("p", "out.jpg", "out.jpg"),
        ("./p/*.png", "out", "out/a.png"),
        ("p*/*.png", "out", "out/p/a.png"),
        ("p/*/../a.png", "out", "out/sub/a.png"),
        ("several", "out.d", "out.d/a.png"),
        ("several", "results-1.2", "results-1.2/a.png"),
        ("several/*", "there.mp4", "there.mp4/a.png"),
    ],
)
def test_the_path_of_a_copy(folder: Path, location: str, output: str, expected: str) -> None:
    make("p/a.png", "several/a.png", "several/b.png")
    for name in ("p/sub", "there", "there.png", "there.mp4"):
        Path(name).mkdir()
    before = tree().keys()
    annotate(location, output)
    written = {path for path in tree().keys() - before if Path(path).is_file()}
    assert expected in written
    assert len(written) == len(info_of(location).images)


@pytest.mark.parametrize(
    ("location", "output", "words"),
    [
        ("p/a.png", "out.mp4", "out.mp4: images are not written in this format; let it end in .jpg"),
        ("p/a.png", "out.gif", "out.gif: images are not written in this format; let it end in .jpg"),
        ("p/a.png", "out.heic", "out.heic: images are not written in this format; let it end in .jpg"),
        ("p/a.png", "out.d", "out.d: images are not written in this format; let it end in .jpg"),
        ("p", "out.mp4", "out.mp4: 2 images cannot be written to one file; give a folder"),
        ("p", "out.png", "out.png: 2 images cannot be written to one file; give a folder"),
        ("p", "notes", "notes: cannot be a folder: notes is a file"),
        ("p", "notes/out", "notes/out: cannot be a folder: "),
        ("p/a.png", "notes/out.png", "notes: cannot be a folder: notes is a file"),
        ("p/a.png", "x" * 300, "x" * 300 + ": cannot be written: File name too long; choose another place"),
        ("p/a.png", "a\nb.gif", r"a\nb.gif: images are not written in this format"),
    ],
)
def test_outputs_that_images_cannot_be_written_to(folder: Path, location: str, output: str, words: str) -> None:
    make("p/a.png", "p/b.png")
    Path("notes").touch()
    assert refusal(output, location).startswith(words)


@pytest.mark.parametrize(
    ("location", "output", "target"),
    [
        ("p/a.png", "p/a.png", "p/a.png"),
        ("p/a.png", "p", "p/a.png"),
        ("p/a.png", "p/../p/./a.png", "p/../p/a.png"),
        ("p/a.png", "symlink.png", "symlink.png"),
        ("p/a.png", "hardlink.png", "hardlink.png"),
        ("p", "p", "p/a.png"),
        ("p/*.png", "./p/", "p/a.png"),
        ("p", "linked", "linked/a.png"),
        ("p", "copies", "copies/b.png"),
        ("symlink.png", "p/a.png", "p/a.png"),
        ("linked", "p", "p/a.png"),
        ("p/*", "./p/sub/..", "p/sub/../a.png"),
    ],
)
def test_no_image_of_the_source_is_replaced(folder: Path, location: str, output: str, target: str) -> None:
    make("p/a.png", "p/b.png")
    Path("symlink.png").symlink_to("p/a.png")
    Path("hardlink.png").hardlink_to("p/a.png")
    Path("linked").symlink_to("p")
    Path("p/sub").mkdir()
    Path("copies").mkdir()
    Path("copies/b.png").hardlink_to("p/b.png")
    assert refusal(output, location) == f"{target}: the output would replace its own source; choose another folder"


def test_a_folder_in_the_source_folder(folder: Path) -> None:
    make("p/a.png")
    annotate("p", "p/out")
    assert files_in("p") == ["a.png", "out/a.png"]
    assert "would replace its own source" in refusal("p/out", "p")


def test_images_of_an_earlier_run_are_replaced(folder: Path) -> None:
    make("x.png", "p/a.png")
    annotate("x.png", "out/a.png")
    annotate("p/a.png", "out")
    assert files_in("out") == ["a.png"]
    make("x.png", "p/a.png", "p/b.png")
    annotate("p", "out")
    assert [grey_index(read_image(f"out/{name}")) for name in files_in("out")] == [1, 2]


def test_the_check_changes_nothing(folder: Path) -> None:
    make("x.png", "p/a.png", "p/b.png", "out/a.png")
    before = tree()
    for location, output in [("p", "out"), ("p", "new/out"), ("p/a.png", "out/a.png"), ("p/a.png", "new/a.png")]:
        require_image_target(output, info_of(location))
    assert tree() == before


def test_the_sink_creates_the_folder(folder: Path) -> None:
    make("p/a.png", "p/b.png")
    ImageSink("new/out", info_of("p")).close()
    assert Path("new/out").is_dir()
    assert files_in("new") == []


@pytest.mark.parametrize(("location", "output"), [("p", "out"), ("p", "out/new"), ("p/a.png", "out/a.png"), ("p", "there")])
def test_no_permission(folder: Path, monkeypatch: pytest.MonkeyPatch, location: str, output: str) -> None:
    make("p/a.png", "p/sub/b.png")
    Path("out").mkdir()
    Path("there/sub").mkdir(parents=True)
    locked = {"out", "sub"}
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name not in locked)
    assert "cannot be written: no permission in" in refusal(output, location)


def test_a_target_that_is_not_a_file(folder: Path) -> None:
    make("p/a.png", "p/b.png")
    Path("out/b.png").mkdir(parents=True)
    assert refusal("out", "p") == "out/b.png: cannot be replaced: it is not a file; choose another folder"
    Path("device.png").symlink_to(os.devnull)
    assert refusal("device.png", "p/a.png").startswith("device.png: cannot be replaced: it is not a file")


def test_a_failed_copy_leaves_the_earlier_image(folder: Path) -> None:
    make("p/a.bmp", "p/b.bmp", "out/a.bmp", "out/b.bmp")
    before = tree()
    with closing(ImageSource("p", RECURSIVE)) as source, closing(ImageSink("out", source.info)) as sink:
        frame = next(iter(source))
        with files_at_most(5000), pytest.raises(SinkError, match=r"out/a\.bmp: cannot be written: File too large; make room"):
            sink.write(output_of(frame))
    assert tree() == before


def test_folder_that_becomes_a_file(folder: Path) -> None:
    make("p/sub/a.png", "p/b.png")
    with closing(ImageSource("p", RECURSIVE)) as source, closing(ImageSink("out", source.info)) as sink:
        Path("out/sub").touch()
        frames = list(source)
        sink.write(output_of(frames[0]))
        with pytest.raises(SinkError, match="out/sub: cannot be made a folder: File exists"):
            sink.write(output_of(frames[1]))


def test_faces_are_drawn_into_the_copy(folder: Path) -> None:
    make("p/a.png")
    with closing(ImageSource("p", RECURSIVE)) as source, closing(ImageSink("out/", source.info)) as sink:
        sink.write(painted(next(iter(source))))
    assert np.array_equal(read_image("out/a.png"), plain(RED))


def test_a_copy_is_upright_without_orientation_metadata(folder: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    stored = np.rot90(four_corners((64, 32)))[..., ::-1]
    Image.fromarray(np.ascontiguousarray(stored)).save("photo.png", exif=exif)
    annotate("photo.png", "out.png")
    assert np.array_equal(read_image("out.png"), four_corners((64, 32)))
    with Image.open("out.png") as image:
        assert image.size == (64, 32)
        assert not image.getexif()


def test_the_source_is_not_changed(folder: Path) -> None:
    make("p/a.jpg", "p/sub/b.jpg")
    before = tree()
    annotate("p", "out")
    assert {path: content for path, content in tree().items() if not path.startswith("out")} == before


def test_unreadable_images_are_left_out(folder: Path) -> None:
    make("p/a.png", "p/c.png")
    Path("p/b.heic").touch()
    annotate("p", "out")
    assert files_in("out") == ["a.png", "c.png"]


def test_a_jpeg_named_heic(folder: Path) -> None:
    Image.new("RGB", (8, 8)).save("photo.heic", "JPEG")
    annotate("photo.heic", "out")
    assert files_in("out") == ["photo.heic.jpg"]


def test_a_name_without_room_for_another_suffix(folder: Path) -> None:
    name = f"{'p' * 250}.heic"
    Image.new("RGB", (8, 8)).save(name, "JPEG")
    annotate(name, "out")
    (made,) = files_in("out")
    assert made.startswith("ppp")
    assert made.endswith(".jpg")


def test_large_image(folder: Path) -> None:
    write_image(Path("photo.jpg"), plain((10, 20, 30), (7680, 4320)))
    annotate("photo.jpg", "out.jpg")
    assert read_image("out.jpg").shape == (4320, 7680, 3)
