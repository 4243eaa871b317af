"""Video through standard input and named pipes, from real writers."""

import json
import os
import pty
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext, suppress
from functools import partial
from pathlib import Path
from time import sleep

import numpy as np
import pytest

from maskstream.cli.opening import is_one_image, open_source
from maskstream.config.cameras import read_cameras
from maskstream.config.schema import Config
from maskstream.errors import ConfigError, SourceOpenError
from maskstream.io.images import read_image
from maskstream.io.locations import location_kind, plain_location, source_name
from maskstream.sources import DeferredSource, PipedImageSource, PipeSource
from maskstream.stream.source_states import SourceStates
from maskstream.types import Frame
from tests import command_lines
from tests.command_lines import Forked
from tests.end_to_end.test_run_stream import LEAVES_WITHIN_S, command, decode
from tests.servers import jpeg
from tests.slowness import LONGEST_S, promised
from tests.video_files import every, grey_index, write_video

COUNT = 12
NOISE = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)


@pytest.fixture
def pipe(tmp_path: Path) -> str:
    path = tmp_path / "cam"
    os.mkfifo(path)
    return str(path)


@pytest.fixture
def feed() -> Iterator[Callable[[str, bytes], None]]:
    """Write into a pipe in a thread, as fast as it is read."""
    threads: list[threading.Thread] = []

    def begin(path: str, data: bytes) -> None:
        threads.append(threading.Thread(target=write, args=(path, data), daemon=True))
        threads[-1].start()

    yield begin
    for thread in threads:
        thread.join(LONGEST_S)


def write(path: str, data: bytes) -> None:
    with suppress(BrokenPipeError), Path(path).open("wb", 0) as file:
        file.write(data)


def large_mp4(folder: Path, **options: object) -> bytes:
    """An MP4 that is larger than the buffer of FFmpeg."""
    shaken = lambda index: np.roll(NOISE, index, 0)  # noqa: E731
    return write_video(folder / "large.mp4", every(0.04, 6), size=(320, 240), image=shaken, **options).read_bytes()


@pytest.mark.parametrize("suffix", ["ts", "mkv", "mp4"])
def test_no_frame_of_a_pipe_is_lost(tmp_path: Path, pipe: str, feed: Callable[[str, bytes], None], suffix: str) -> None:
    clip = write_video(tmp_path / f"clip.{suffix}", every(0.04, COUNT))
    feed(pipe, clip.read_bytes())
    with closing(PipeSource(pipe)) as source:
        frames = list(source)
    assert [grey_index(frame.bgr) for frame in frames] == [index % 11 for index in range(COUNT)]
    assert [frame.time_s - frames[0].time_s for frame in frames] == pytest.approx(every(0.04, COUNT), abs=0.002)
    assert (source.info.live, source.info.path, source.info.source_id) == (False, None, pipe)


def test_an_index_at_the_start_is_read_and_one_at_the_end_is_refused(
    tmp_path: Path, pipe: str, feed: Callable[[str, bytes], None]
) -> None:
    feed(pipe, large_mp4(tmp_path, container_options={"movflags": "+faststart"}))
    with closing(PipeSource(pipe)) as source:
        assert len(list(source)) == 6
    feed(pipe, large_mp4(tmp_path))
    with pytest.raises(SourceOpenError, match=f"^{pipe}: cannot be read without seeking: .*faststart"):
        PipeSource(pipe)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "ended before any data arrived; check the program that writes to it"),
        (b"no film\n" * 999, "not a video that FFmpeg can read: .*; send it with ffmpeg -f mpegts"),
    ],
)
def test_what_is_no_video(pipe: str, feed: Callable[[str, bytes], None], data: bytes, words: str) -> None:
    feed(pipe, data)
    with pytest.raises(SourceOpenError, match=f"^{pipe}: {words}"):
        PipeSource(pipe)


def test_an_image_through_a_pipe(pipe: str, feed: Callable[[str, bytes], None]) -> None:
    feed(pipe, jpeg(4))
    with closing(PipedImageSource(pipe, "door")) as source:
        (frame,) = source
        assert list(source) == []
    assert (source.info.live, source.info.frame_count, source.info.images) == (False, 1, ("door",))
    assert (grey_index(frame.bgr), frame.file, frame.source_id) == (4, "door", "door")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "ended before any data arrived"),
        (b"short", "not an image, damaged, or in a format that is not read"),
        (b"no picture " * 1000, "the data is not one image; choose an --output that ends in .mp4"),
        (jpeg(1) + jpeg(2), "the data is not one image; choose an --output that ends in .mp4"),
        (jpeg(1)[:300], "it is truncated"),
    ],
)
def test_what_is_not_one_image(pipe: str, feed: Callable[[str, bytes], None], data: bytes, words: str) -> None:
    feed(pipe, data)
    with pytest.raises(SourceOpenError) as caught:
        PipedImageSource(pipe)
    assert str(caught.value).startswith(f"{pipe}: {words}")


def test_an_image_that_is_too_large(pipe: str, feed: Callable[[str, bytes], None]) -> None:
    feed(pipe, jpeg(1))
    with pytest.raises(
        SourceOpenError, match=r"cam: it has 160x120 pixels, more than 0\.01 megapixels; .*pictures\.max_megapixels"
    ):
        PipedImageSource(pipe, max_megapixels=0.01)


def test_a_pipe_into_an_image(pipe: str, feed: Callable[[str, bytes], None], config: Config) -> None:
    camera = read_cameras([pipe], config)[0]
    assert [is_one_image(camera, output) for output in ("judged.jpg", "judged.mp4", "judged/", None)] == [
        True,
        False,
        False,
        False,
    ]
    feed(pipe, jpeg(4))
    with closing(open_source(camera, SourceStates(), alone=True, output="judged.jpg")) as source:
        assert [grey_index(frame.bgr) for frame in source] == [4]


@pytest.mark.parametrize("text", ["#EXTM3U\n#EXTINF:1,\n{clip}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile {clip}\n"])
def test_data_of_a_pipe_opens_no_file(tmp_path: Path, pipe: str, feed: Callable[[str, bytes], None], text: str) -> None:
    clip = write_video(tmp_path / "clip.ts", every(0.04, 3))
    feed(pipe, text.format(clip=clip).encode())
    with pytest.raises(SourceOpenError, match="not a video that FFmpeg can read"):
        PipeSource(pipe)


def test_a_stream_that_breaks_off_is_read_to_its_last_frame_and_logged(
    tmp_path: Path, pipe: str, feed: Callable[[str, bytes], None], said: list[str]
) -> None:
    clip = write_video(
        tmp_path / "clip.mkv", every(0.04, 100), size=(320, 240), image=lambda i: np.roll(NOISE, i, 0)
    ).read_bytes()
    feed(pipe, clip[: len(clip) // 2])
    with closing(PipeSource(pipe)) as source:
        assert 20 < len(list(source)) < 80
    assert [line for line in said if "the file is truncated" in line]


def test_a_missing_pipe_or_one_that_may_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(SourceOpenError, match="no such pipe; make it with mkfifo"):
        PipeSource(str(tmp_path / "none"))


def reading(source: DeferredSource, read: list[Frame]) -> threading.Thread:
    thread = threading.Thread(target=lambda: read.extend(source), daemon=True)
    thread.start()
    return thread


def test_waiting_for_a_writer_can_be_ended(pipe: str, config: Config, said: list[str]) -> None:
    """The thread that reads it opens it, so that neither the start nor the end waits for a writer."""
    (camera,) = read_cameras([pipe], config)
    source = open_source(camera, SourceStates(), alone=True)
    assert isinstance(source, DeferredSource)
    thread = reading(source, read := [])
    while not (warnings := [line for line in said if line.startswith("WARNING")]):
        sleep(0.01)
    assert warnings == [f"WARNING {pipe}: waiting for a writer\n"]
    with promised(1):
        source.close()
        thread.join(LONGEST_S)
    assert (thread.is_alive(), read) == (False, [])


def test_waiting_for_a_silent_writer_can_be_ended(tmp_path: Path, pipe: str, config: Config) -> None:
    clip = write_video(tmp_path / "clip.ts", every(0.04, 200)).read_bytes()
    (camera,) = read_cameras([pipe], config)
    source = open_source(camera, SourceStates(), alone=True)
    thread = reading(source, read := [])
    with Path(pipe).open("wb", 0) as writer:
        writer.write(clip)
        with promised(3):
            source.close()
            thread.join(LONGEST_S)
    assert not thread.is_alive()
    assert len(read) < 200


@pytest.mark.parametrize("name", ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0", "pipe:0", " - \n", "/dev//stdin"])
def test_names_of_standard_input(name: str, config: Config) -> None:
    (camera,) = read_cameras([name], config)
    assert (camera.name, camera.location) == ("stdin", "-")


def test_one_pipe_is_one_source(tmp_path: Path, pipe: str, config: Config) -> None:
    cameras = tmp_path / "cameras.yaml"
    link = tmp_path / "link"
    link.symlink_to(pipe)
    for first, second in (("'-'", "/dev/stdin"), (pipe, str(link))):
        cameras.write_text(f"- {{name: a, url: {first}}}\n- {{name: b, url: {second}}}\n")
        with pytest.raises(ConfigError, match="b: this pipe is also read by a"):
            read_cameras([str(cameras)], config)
    with pytest.raises(ConfigError, match="stdin: given twice"):
        read_cameras(["-", "/dev/stdin"], config)


def test_kinds(pipe: str) -> None:
    assert location_kind(pipe) == "pipe"
    assert (plain_location("/dev/fd/0"), source_name("-")) == ("-", "stdin")


def test_standard_input_through_the_command_line(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.ts", every(0.04, COUNT))
    writer = subprocess.Popen(["cat", str(clip)], stdout=subprocess.PIPE)
    options = ("--source", "-", "--output", tmp_path / "out", "--jsonl", "-")
    (tmp_path / "out").mkdir()
    with writer, Forked(command(*options), stdin=writer.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert writer.stdout is not None
        writer.stdout.close()
        out, err = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 0, err
    assert out.count(b'{"source": "stdin", "file": null') == COUNT
    assert len(decode(tmp_path / "out" / "stdin.mp4")) == COUNT


def test_a_file_as_standard_input_is_read_as_the_file(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", every(0.04, 3), audio=("aac", 0.0, 0.1))
    before = clip.read_bytes()
    with clip.open("rb") as file:
        run = partial(Forked, stdin=file, stderr=subprocess.PIPE, text=True)
        with run(command("--source", "-", "--output", tmp_path / "out.mp4")) as process:
            assert process.wait(LONGEST_S) == 0
        with run(command("--source", "/dev/stdin", "--output", clip)) as process:
            assert "would replace its own source" in process.communicate(timeout=LONGEST_S)[1]
    assert (process.returncode, clip.read_bytes()) == (5, before)
    assert len(decode(tmp_path / "out.mp4")) == 3


def test_an_image_as_standard_input(tmp_path: Path) -> None:
    """From a program, and as a file."""
    (tmp_path / "photo").write_bytes(jpeg(4))
    with (tmp_path / "photo").open("rb") as photo, subprocess.Popen(["cat"], stdin=photo, stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        for number, given in enumerate((cat.stdout, (tmp_path / "photo").open("rb"))):
            asked = command("--source", "-", "--output", tmp_path / f"{number}.png", "--jsonl", "-")
            done = command_lines.run(asked, stdin=given)
            given.close()
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["file"] == "stdin"
            assert grey_index(read_image(str(tmp_path / f"{number}.png"))) == 4


def test_a_terminal_as_standard_input() -> None:
    ours, theirs = pty.openpty()
    with Forked(command("--source", "-"), stdin=theirs, stderr=subprocess.PIPE, text=True) as process:
        _, err = process.communicate(timeout=LONGEST_S)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 3
    assert err.startswith("stdin: standard input is a terminal; send a video to it")


@pytest.mark.parametrize(
    ("number", "has_writer"),
    [
        (signal.SIGINT, False),
        (signal.SIGTERM, True),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((signal.SIGINT, True), (signal.SIGTERM, False))),
    ],
)
def test_signals_while_no_data_arrives(tmp_path: Path, pipe: str, number: signal.Signals, has_writer: bool) -> None:
    with Forked(command("--source", pipe, "--output", tmp_path / "out.mp4"), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        with Path(pipe).open("wb", 0) if has_writer else nullcontext():
            for line in process.stderr:
                if "waiting for a writer" in line:
                    break
            with promised(LEAVES_WITHIN_S):
                process.send_signal(number)
                assert process.wait(LONGEST_S) == 128 + number
    assert not (tmp_path / "out.mp4").exists()
