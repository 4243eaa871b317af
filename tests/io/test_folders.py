"""Folders and patterns of videos, and what is said of all that is left out."""

import json
import os
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import cv2
import psutil
import pytest

import run_stream
from maskstream.cli.opening import image_sink, open_source
from maskstream.config.cameras import Camera, read_cameras
from maskstream.config.loading import Layer, refine
from maskstream.config.schema import Config
from maskstream.errors import SourceError, SourceOpenError
from maskstream.io.batches import Batch, Turns
from maskstream.io.folders import VIDEO_SUFFIXES, find_files
from maskstream.io.image_formats import IMAGE_SUFFIXES
from maskstream.sources import DeferredSource, ImageSource
from maskstream.stream.engine import Engine
from maskstream.stream.sink_group import SinkBinding
from maskstream.stream.source_states import SourceStates
from maskstream.types import Face, Frame
from tests.tracking.made import Scripted
from tests.video_files import every, grey, packets_of, write_video

Run = Callable[..., tuple[int, str]]
FRAMES = 3


def clip(path: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_video(Path(path), every(0.04, FRAMES))


def empty(*paths: str) -> None:
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()


@pytest.fixture
def run_here(capfd: pytest.CaptureFixture[str], signals: None) -> Run:
    """The command line in this process; returns the exit code and what was said."""

    def run_main(*arguments: str) -> tuple[int, str]:
        code = run_stream.main([*arguments, "--no-show"])
        return code, capfd.readouterr().err

    return run_main


def test_a_suffix_is_that_of_images_or_of_videos() -> None:
    assert not set(IMAGE_SUFFIXES) & set(VIDEO_SUFFIXES)
    assert len(set(VIDEO_SUFFIXES)) == len(VIDEO_SUFFIXES)


def test_a_source_for_each_video_in_natural_order(folder: Path, config: Config) -> None:
    empty("rec/clip_10.mp4", "rec/clip_2.MKV", "rec/a.dav", "rec/sub/b.ts", "rec/.hidden.mp4", "rec/notes.txt")
    assert [camera.name for camera in read_cameras(["rec"], config)] == ["rec/a.dav", "rec/clip_2.MKV", "rec/clip_10.mp4"]
    deep = refine(config, Layer("test", {"pictures": {"recursive": True}}))
    assert [camera.name for camera in read_cameras(["rec"], deep)][-1] == "rec/sub/b.ts"
    assert [camera.name for camera in read_cameras(["rec/clip*"], config)] == ["rec/clip_2.MKV", "rec/clip_10.mp4"]
    assert [camera.name for camera in read_cameras(["rec/**/*.ts", "rec/a.dav"], config)] == ["rec/sub/b.ts", "rec/a.dav"]


def test_images_are_one_source_before_the_videos(folder: Path, config: Config) -> None:
    empty("rec/a.mp4", "rec/b.jpg", "rec/c.png")
    assert [camera.location for camera in read_cameras(["rec"], config)] == ["rec", "rec/a.mp4"]
    assert read_cameras(["rec/*g"], config) == [Camera("rec/*g", "rec/*g", config)]


def test_a_name_in_a_list_is_that_of_all_its_videos(folder: Path, config: Config) -> None:
    empty("rec/day/a.mp4", "rec/day/b.mp4")
    Path("list.yaml").write_text("- {name: archive, url: rec/day/}\n")
    assert [camera.name for camera in read_cameras(["list.yaml"], config)] == ["archive/a.mp4", "archive/b.mp4"]


def test_files_without_a_suffix_are_told_by_their_content(folder: Path, config: Config) -> None:
    clip("rec/clip.mkv")
    Path("rec/clip.mkv").rename("rec/clip")
    cv2.imwrite("rec/photo.png", grey(1))
    Path("rec/photo.png").rename("rec/photo")
    Path("rec/LICENSE").write_text("free")
    for location in ("rec", "rec/*"):
        assert [camera.location for camera in read_cameras([location], config)] == [location, "rec/clip"]
        with closing(ImageSource(location, config.pictures)) as source:
            assert source.info.images == ("rec/photo",)


def test_a_pattern_may_name_a_suffix_of_its_own(folder: Path, config: Config) -> None:
    empty("rec/1.dvr", "rec/2.dvr", "rec/3.dat")
    assert [camera.name for camera in read_cameras(["rec/*.dvr"], config)] == ["rec/1.dvr", "rec/2.dvr"]


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("none/*.mp4", "none/*.mp4: no file matches; check the path"),
        ("others/*", "others/*: none of the 1 files that match is an image or video"),
        ("others", "others: no image or video in this folder; images end in .jpg"),
        ("nested", "nested: its images and videos are all in subfolders; add --recursive"),
        ("bare", "bare: no image or video in this folder"),
    ],
)
def test_what_has_neither(folder: Path, config: Config, location: str, words: str) -> None:
    empty("others/notes.txt", "nested/sub/a.mp4")
    Path("bare").mkdir()
    with pytest.raises(SourceOpenError) as caught:
        read_cameras([location], config)
    assert str(caught.value).startswith(words)


def test_nothing_is_left_out_silently(folder: Path, config: Config, said: list[str]) -> None:
    empty(*(f"rec/{index}.txt" for index in range(1000)), "rec/a.pdf", "rec/b", "rec/clip.mp4")
    empty("rec/.DS_Store", "rec/._clip.mp4", "rec/Thumbs.db", "rec/desktop.ini", "rec/.trash/c.mp4", "rec/one/a.mp4", "rec/two/x")
    Path("rec/gone").symlink_to("nowhere")
    os.mkfifo("rec/pipe.ts")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("rec/socket")
        assert [camera.name for camera in read_cameras(["rec"], config)] == ["rec/clip.mp4"]
    assert said == [
        "INFO rec: left out: of other kinds: 1002 (1000 .txt, 1 .pdf, 1 without a suffix: 0.txt, 1.txt, 2.txt and 999 more); "
        "folders, which --recursive also reads: 2 (one, two); "
        "pipes, devices and broken links: 3 (gone, pipe.ts, socket); hidden or of the system: 5\n"
    ]


def test_folders_behind_links_are_read_once(folder: Path) -> None:
    empty("rec/a.mp4", "rec/sub/b.mp4", "elsewhere/c.mp4", "elsewhere/deep/d.mp4")
    for name, target in (
        ("loop", "."),
        ("sub/up", ".."),
        ("again", "sub"),
        ("there", "../elsewhere"),
        ("z", "../elsewhere/deep"),
    ):
        Path("rec", name).symlink_to(target)
    found = find_files("rec", recursive=True)
    assert found is not None
    assert sorted(Path(video).name for video in found.videos) == ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]
    assert found.videos[:1] + found.videos[1:2] == ["rec/a.mp4", "rec/sub/b.mp4"]
    assert {"rec/loop", "rec/again", "rec/sub/up"} <= set(found.repeated)


def test_a_pattern_finds_a_file_once_whatever_links_lead_there(folder: Path) -> None:
    """Two links that lead in circles make 2 ** 40 names of it."""
    empty("rec/a.mp4", "rec/sub/b.mp4", "rec/sub/deep/c.mp4", "rec/.hidden/d.mp4", "[x]/sub/b.mp4")
    for name in ("loop", "again", "sub/up"):
        Path("rec", name).symlink_to(folder / "rec")
    patterns = {
        "rec/**/*.mp4": ["rec/a.mp4", "rec/sub/b.mp4", "rec/sub/deep/c.mp4"],
        "rec/**": ["rec/a.mp4", "rec/sub/b.mp4", "rec/sub/deep/c.mp4"],
        "**/sub/*.mp4": ["[x]/sub/b.mp4", "rec/sub/b.mp4"],
        "./**/deep/**/*.mp4": ["./rec/sub/deep/c.mp4"],
        "re?/**/[bc].mp4": ["rec/sub/b.mp4", "rec/sub/deep/c.mp4"],
        f"{folder}/rec/**/c.*": [f"{folder}/rec/sub/deep/c.mp4"],
        "rec/**.mp4": ["rec/a.mp4"],
    }
    for pattern, videos in patterns.items():
        found = find_files(pattern, recursive=False)
        assert found is not None
        assert found.videos == videos, pattern


def test_turns_come_in_order_and_a_few_at_a_time() -> None:
    turns = Turns(at_once=2)
    first, second, third, fourth = (turns.next() for _ in range(4))
    came = lambda: [turn.come.is_set() for turn in (first, second, third, fourth)]  # noqa: E731
    assert came() == [True, True, False, False]
    third.end()  # given up before it came
    second.end()
    second.end()
    assert came() == [True, True, True, True]
    assert not turns.next().come.is_set()
    first.end()
    fourth.end()
    assert turns.next() is not None


def test_those_that_cannot_be_read_are_said_with_the_last_one(said: list[str]) -> None:
    batch = Batch("rec", Turns())
    for _ in range(3):
        batch.join()
    batch.readable()
    batch.leave()
    batch.unreadable("a", SourceError("rec/a.mp4: empty"))
    batch.leave()
    assert said == []
    batch.leave()
    assert said == ["ERROR rec: 1 of 3 videos could not be read:\n", "ERROR rec/a.mp4: empty\n"]


def test_none_that_can_be_read_is_an_error() -> None:
    batch = Batch("rec", Turns())
    for name in "abcde":
        batch.join()
        batch.unreadable(name, SourceError(f"{name}: empty"))
    for _ in range(4):
        batch.leave()
    with pytest.raises(SourceOpenError, match="rec: none of its 5 videos can be read: a: empty; b: empty; c: empty; and 2 more"):
        batch.leave()


def test_each_is_opened_at_its_turn_and_closed_at_its_end(folder: Path, config: Config) -> None:
    for index in range(4):
        clip(f"rec/{index}.mp4")
    sources = [open_source(camera, SourceStates(), alone=False) for camera in read_cameras(["rec"], config)]
    assert [source.info.is_deferred for source in sources] == [True] * 4
    for source in sources:
        assert isinstance(source, DeferredSource)
        assert len(list(source)) == FRAMES
        assert list(source) == []
        assert (source.info.width, source.info.duration_s) == (64, pytest.approx(0.12))
        source.close()


def open_in(folder: Path) -> int:
    """Return how many files of a folder this process has open."""
    return sum(each.path.startswith(f"{folder}/") for each in psutil.Process().open_files())


@pytest.mark.parametrize("max_frames", [None, 2])
def test_only_a_few_are_open_and_in_memory_at_a_time(folder: Path, config: Config, max_frames: int | None) -> None:
    """The videos are shorter than what may wait for the models: these see each to its end before others are read."""
    for index in range(12):
        clip(f"rec/{index}.mp4")
    cameras = read_cameras(["rec"], config)
    most: dict[str, int] = {"rec": 0, "out": 0}
    met: set[str] = set()

    def count(frame: Frame) -> list[Face]:
        met.add(frame.source_id)
        for name in most:
            most[name] = max(most[name], min(open_in(folder / name), open_in(folder / name)))  # files change during a look
        return []

    with Path("rec/0.mp4").open("rb"):
        assert open_in(folder / "rec") == 1

    states = SourceStates()
    sources = [open_source(camera, states, alone=False) for camera in cameras]
    Path("out").mkdir()
    sinks = [image_sink(f"out/{Path(each.name).name}", source, each) for each, source in zip(cameras, sources, strict=True)]
    stream = config.stream.model_copy(update={"max_frames": max_frames})
    engine = Engine(Scripted(count), lambda frame, _: frame.bgr, stream, 8, states=states)
    engine.add(sources, [SinkBinding(sink, each.name) for sink, each in zip(sinks, cameras, strict=True)])
    report = engine.run()
    assert (report.frames, len(met)) == (12 * (max_frames or FRAMES), 12)
    assert most["rec"] <= 4  # each once for its picture and once for its sound
    assert most["out"] <= 3


def test_none_has_its_turn_once_the_user_leaves(folder: Path, config: Config) -> None:
    for index in range(50):
        clip(f"rec/{index}.mp4")
    cameras = read_cameras(["rec"], config)
    sources = [open_source(camera, SourceStates(), alone=False) for camera in cameras]
    engine = Engine(Scripted(lambda _: engine.stop() or []), lambda frame, _: frame.bgr, config.stream, 1)
    engine.add(sources, [])
    report = engine.run()
    assert report.threads_left == 0
    assert 1 <= sum(not source.info.is_deferred for source in sources) <= 2


def test_closed_before_its_turn(folder: Path, config: Config) -> None:
    for index in range(3):
        clip(f"rec/{index}.mp4")
    sources = [open_source(camera, SourceStates(), alone=False) for camera in read_cameras(["rec"], config)]
    sources[0].close()
    sources[2].close()
    assert [len(list(source)) for source in sources] == [0, FRAMES, 0]
    sources[1].close()


def test_a_folder_through_the_command_line(folder: Path, run_here: Run) -> None:
    for name in ("rec/a.avi", "rec/a.mkv", "rec/sub/a.mp4"):
        clip(name) if name != "rec/a.avi" else write_video_avi(name)
    write_video(Path("rec/sound.mp4"), every(0.04, FRAMES), audio=("aac", 0.0, 0.1))
    empty("rec/bad.mp4")
    cv2.imwrite("rec/photo.png", grey(1))
    files = ("--jsonl", "all.jsonl", "--csv", "all.csv", "--summary", "sum.json", "--status", "status.jsonl")
    code, said = run_here("--source", "rec", "--recursive", "--output", "out", "--events", "events.jsonl", *files)
    assert code == 0, said
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.mp4", "a_2.mp4", "a_3.mp4", "photo.png", "sound.mp4"]
    assert packets_of(Path("out/sound.mp4"), "audio")
    assert "rec: 1 of 5 videos could not be read:" in said
    assert "rec/bad.mp4: the file is empty" in said
    records = [json.loads(line) for line in Path("all.jsonl").read_text().splitlines()]
    videos = ("rec/a.avi", "rec/a.mkv", "rec/sub/a.mp4", "rec/sound.mp4")
    for name in videos:
        assert [record["frame"] for record in records if record["source"] == name] == [0, 1, 2]
    states = [json.loads(line) for line in Path("status.jsonl").read_text().splitlines()]
    assert [state["cause"] for state in states if state["source"] == "rec/bad.mp4"][-1] == "the file is empty; give a video file"


def write_video_avi(name: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    write_video(Path(name), every(0.04, FRAMES), codec="mpeg4")


def test_videos_are_read_in_order(folder: Path, run_here: Run) -> None:
    """Two at a time."""
    for index in range(12):
        clip(f"rec/{index}.mp4")
    code, said = run_here("--source", "rec", "--jsonl", "all.jsonl", "--max-frames", "1")
    assert code == 0, said
    records = [json.loads(line) for line in Path("all.jsonl").read_text().splitlines()]
    order = [int(Path(record["source"]).stem) for record in records]
    assert all(abs(index - number) <= 1 for index, number in enumerate(order)), order


def test_limits_and_outputs_that_are_there(folder: Path, run_here: Run) -> None:
    clip("rec/1.mp4")
    clip("rec/2.mp4")
    Path("out").mkdir()
    Path("out/2.mp4").write_bytes(b"mine")
    code, said = run_here("--source", "rec/*.mp4", "--output", "out", "--no-overwrite")
    assert (code, Path("out/2.mp4").read_bytes(), len(list(Path("out").iterdir()))) == (5, b"mine", 1)
    assert "out/2.mp4: already exists" in said
    code, said = run_here("--source", "rec/*.mp4", "--output", "out", "--max-frames", "2", "--jsonl", "all.jsonl")
    assert code == 0, said
    assert len(Path("all.jsonl").read_text().splitlines()) == 4
    assert [len(packets_of(Path("out", name), "video")) for name in ("1.mp4", "2.mp4")] == [2, 2]


def test_none_can_be_read_through_the_command_line(folder: Path, run_here: Run) -> None:
    empty("rec/1.mp4", "rec/2.mp4", "out/1.mp4")
    Path("out/1.mp4").write_bytes(b"mine")
    code, said = run_here("--source", "rec", "--output", "out")
    assert code == 3
    assert said.splitlines()[-1].startswith(
        "rec: none of its 2 videos can be read: rec/1.mp4: the file is empty; give a video file; rec/2.mp4"
    )
    assert Path("out/1.mp4").read_bytes() == b"mine"  # nothing came to replace it with


def test_videos_that_cannot_be_read_are_named_in_the_order_of_the_folder() -> None:
    """Two are open at a time, and the second may be given up first."""
    batch = Batch("rec", Turns())
    for name in ("rec/10.mp4", "rec/2.mp4"):
        batch.join()
        batch.unreadable(name, SourceOpenError(f"{name}: the file is empty"))
    batch.leave()
    with pytest.raises(SourceOpenError, match=r"rec/2\.mp4: the file is empty; rec/10\.mp4"):
        batch.leave()


def test_an_output_that_the_next_run_would_read(folder: Path, run_here: Run) -> None:
    clip("rec/1.mp4")
    cv2.imwrite("rec/photo.png", grey(1))
    code, said = run_here("--source", "rec", "--recursive", "--output", "rec/judged", "--max-frames", "1")
    assert code == 0, said
    assert said.count("rec/judged: is in the folder of the source: the next run reads the copies too") == 1


def test_an_output_among_the_sources(folder: Path, run_here: Run) -> None:
    clip("rec/1.mp4")
    before = Path("rec/1.mp4").read_bytes()
    code, said = run_here("--source", "rec", "--output", "rec")
    assert (code, Path("rec/1.mp4").read_bytes()) == (5, before)
    assert "would replace its own source" in said
