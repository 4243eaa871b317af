"""What is opened for a camera, and that nothing stays open where something cannot be."""

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from maskstream.cli import opening
from maskstream.cli.opening import image_sink, is_one_image, open_camera, open_source
from maskstream.config.cameras import Camera, read_cameras
from maskstream.config.schema import Config
from maskstream.errors import SinkError, SourceOpenError, SourceRefused
from maskstream.io.file_names import FileNames
from maskstream.sinks import ImageSink, SegmentedRecordingSink, VideoSink
from maskstream.sources import SOURCES, FileSource, ReconnectingSource, UrlSource
from maskstream.stream.source_states import SourceStates
from maskstream.stream.states import SourceState
from tests.servers import http_server, images, jpeg, mjpeg, status
from tests.slowness import LONGEST_S
from tests.stream.test_engine import ListSource
from tests.video_files import every, grey, output_of, write_video


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.mp4", every(0.04, 5))


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the sources that were closed."""
    names: list[str] = []
    for kind in (FileSource, ReconnectingSource):

        def close(source: FileSource | ReconnectingSource, really: object = kind.close) -> None:
            names.append(source.info.source_id)
            really(source)  # type: ignore[operator]

        monkeypatch.setattr(kind, "close", close)
    return names


def opened_camera(camera: Camera, output: Path | None, names: FileNames | None = None) -> list[str]:
    """Open and close a camera that is added; return where its annotated frames would go."""
    states = SourceStates()
    opened = open_camera(camera, states.status(camera.name), states, output and str(output), names or FileNames())
    paths = []
    for binding in opened.sinks:
        assert binding.source_id == camera.name
        paths.append(Path(getattr(binding.sink, "path", "")).name or type(binding.sink).__name__)
    opened.close()
    return paths


def test_a_file_is_opened_at_once_and_a_camera_by_the_thread_that_reads_it(clip: Path, config: Config) -> None:
    states = SourceStates()
    file = open_source(Camera("clip", str(clip), config), states, alone=False)
    camera = open_source(Camera("gate", "rtsp://127.0.0.1:1/cam", config), states, alone=False)
    assert (type(file), file.info.width) == (FileSource, 64)
    assert (type(camera), camera.info.width, camera.info.live) == (ReconnectingSource, 0, True)
    for source in (file, camera):
        source.close()


def test_a_status_of_its_own_is_told_what_becomes_of_a_camera(config: Config) -> None:
    states = SourceStates()
    own = states.status("gate")
    states.end("gate", "removed")  # meanwhile
    camera = Camera("gate", "http://127.0.0.1:1/video", config)
    source = open_source(camera, states, alone=False, status=own)
    source.close()
    assert list(source) == []
    assert own.last.state is SourceState.ENDED
    assert states.status("gate").last.cause == "started"


def test_what_is_not_there_is_said(tmp_path: Path, config: Config) -> None:
    for location in (str(tmp_path / "none.mp4"), "mms://cam/1"):
        with pytest.raises(SourceOpenError):
            open_source(Camera("gate", location, config), SourceStates(), alone=False)


def test_a_camera_alone_that_refuses_is_said_at_once(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_AT_ONCE_S", LONGEST_S)
    with http_server({"/video": status(404)}) as url:
        camera = Camera("gate", f"{url}/video", config)
        with pytest.raises(SourceRefused, match="404"):
            open_source(camera, SourceStates(), alone=True)
        open_source(camera, SourceStates(), alone=False).close()


def test_a_camera_alone_that_answers_is_read_from_the_connection_that_was_begun(config: Config) -> None:
    with http_server({"/video": mjpeg(frames=3)}) as url:
        source = open_source(Camera("gate", f"{url}/video", config), SourceStates(), alone=True)
        frames: Iterator[object] = iter(source)
        assert next(frames)
        source.close()


@pytest.mark.parametrize(("location", "kind"), [("clip.mp4", VideoSink), ("rtsp://127.0.0.1:1/cam", SegmentedRecordingSink)])
def test_which_sink_a_source_has(
    clip: Path, config: Config, monkeypatch: pytest.MonkeyPatch, location: str, kind: type[object]
) -> None:
    monkeypatch.chdir(clip.parent)
    camera = Camera("gate", location, config)
    source = open_source(camera, SourceStates(), alone=False)
    sink = image_sink("out.mp4", source, camera)
    assert type(sink) is kind
    sink.close()
    source.close()


def test_images_go_into_a_folder(tmp_path: Path, config: Config) -> None:
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), grey(number))
    camera = Camera("photos", str(tmp_path), config)
    source = open_source(camera, SourceStates(), alone=False)
    assert type(image_sink(str(tmp_path / "out"), source, camera)) is ImageSink
    source.close()


def test_a_folder_of_images_is_searched_once(tmp_path: Path, config: Config) -> None:
    """A large folder on a network takes long. What is added after the search belongs to the next run."""
    cv2.imwrite(str(tmp_path / "0.png"), grey(0))
    (camera,) = read_cameras([str(tmp_path)], config)
    cv2.imwrite(str(tmp_path / "1.png"), grey(1))
    source = open_source(camera, SourceStates(), alone=True)
    assert source.info.images == (str(tmp_path / "0.png"),)
    assert source.info.path == str(tmp_path)
    source.close()


def test_a_source_is_closed_where_its_sink_cannot_be_opened(clip: Path, config: Config, closed: list[str]) -> None:
    (clip.parent / "file").touch()
    states = SourceStates()
    for location in (str(clip), "rtsp://127.0.0.1:1/cam"):
        with pytest.raises(SinkError):
            open_camera(Camera("gate", location, config), states.status("gate"), states, str(clip.parent / "file"), FileNames())
    assert closed == ["gate", "gate"]


def test_the_video_of_a_file_that_is_added_replaces_none(clip: Path, config: Config, said: list[str]) -> None:
    output, names = clip.parent / "out", FileNames()
    output.mkdir()
    (output / "hall.mp4").write_text("of an earlier run")
    camera = Camera("hall", str(clip), config)
    assert opened_camera(camera, output, names) == ["hall_002.mp4"]
    assert [path.name for path in output.iterdir()] == ["hall.mp4"]  # what gave no frame leaves none
    assert (output / "hall.mp4").read_text() == "of an earlier run"
    assert "INFO hall: the video is hall_002.mp4, because a file hall.mp4 exists already\n" in said


def test_a_video_that_cannot_be_begun_leaves_no_name_behind(clip: Path, config: Config) -> None:
    output = clip.parent / "out"
    states = SourceStates()
    camera = Camera("hall", str(clip), config)
    source = open_source(camera, states, alone=False)
    broken = replace(source.info, width=-2)
    source.info = broken
    output.mkdir()
    with pytest.raises((SinkError, ValueError, OverflowError)):
        image_sink(str(output / "hall.mp4"), source, camera, replace=False)
    assert list(output.iterdir()) == []
    source.close()


def test_names_of_cameras_stay_theirs(clip: Path, config: Config) -> None:
    output, names = clip.parent / "out", FileNames()
    cameras = [Camera(name, str(clip), config) for name in ("hall 1", "hall_1", "Hall 1", "hall 1")]
    assert [opened_camera(camera, output, names) for camera in cameras] == [
        *(["hall_1.mp4"], ["hall_1_2.mp4"], ["Hall_1_3.mp4"], ["hall_1.mp4"]),
    ]


def test_without_an_output_there_is_no_sink(clip: Path, config: Config) -> None:
    assert opened_camera(Camera("hall", str(clip), config), None) == []


@pytest.mark.parametrize(
    ("location", "output", "snapshot_s", "expected"),
    [
        *(("http://host/cover.jpg", "judged.jpg", 1, True), ("HTTPS://me:pw@host/x?a=b.c", "new/judged.PNG", 1, True)),
        *(("http://host/cover.jpg", "folder/", 1, True), ("http://host/cover.JPG?size=big", "there.jpg", 1, True)),
        *(("http://host/stream", "folder/", 1, False), ("http://host/stream", "there.jpg", 1, False)),
        *(("http://host/cover.jpg", "judged.mp4", 1, False), ("http://host/cover.jpg", None, 1, False)),
        *(("http://host/cover.jpg", None, 0, True), ("http://host/snapshot", None, 0, False)),
        *(
            ("rtsp://host/cover.jpg", "judged.jpg", 1, False),
            ("cover.jpg", "judged.jpg", 1, False),
            ("0", "judged.jpg", 0, False),
        ),
    ],
)
def test_which_url_is_one_image(
    folder: Path, config: Config, location: str, output: str | None, snapshot_s: float, expected: bool
) -> None:
    Path("there.jpg").mkdir()
    own = config.model_copy(update={"network": config.network.model_copy(update={"snapshot_s": snapshot_s})})
    assert is_one_image(Camera("camera", location, own), output) is expected


def test_images_on_servers_go_where_their_names_say(folder: Path, config: Config) -> None:
    network = config.network.model_copy(update={"snapshot_s": 0})
    own = config.model_copy(update={"network": network})
    frames = {"/a.png": images([jpeg(1), jpeg(1)]), "/..%2fb%20c.webp": images([jpeg(2)])}
    with http_server(frames) as url:
        for location, output in (
            (f"{url}/a.png?x=/y", "out/"),
            (f"{url}/..%2fb%20c.webp", "out/"),
            (f"{url}/a.png", "of a list/d.jpg"),
        ):
            camera = Camera("gate", location, own)
            source = open_source(camera, SourceStates(), alone=False)
            with closing(source), closing(image_sink(output, source, camera)) as sink:
                (frame,) = source
                sink.write(output_of(frame))
    assert sorted(map(str, Path().rglob("*.*"))) == ["of a list/d.jpg", "out/a.png", "out/b_c.webp"]


def test_a_camera_that_was_opened_early_is_closed_if_it_is_never_read(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = threading.Event()
    really = UrlSource.close

    def close(source: UrlSource) -> None:
        really(source)
        closed.set()

    monkeypatch.setattr(UrlSource, "close", close)
    with http_server({"/video": mjpeg()}) as url:
        source = open_source(Camera("gate", f"{url}/video", config), SourceStates(), alone=True)
        assert not closed.is_set()
        source.close()
        assert closed.wait(LONGEST_S)
        source.close()


def test_a_webcam_that_was_opened_early_is_closed_if_it_is_never_read(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    webcam = ListSource(3, "0", live=True)
    monkeypatch.setitem(SOURCES, "webcam", lambda *_: webcam)
    source = open_source(Camera("0", "0", config), SourceStates(), alone=True)
    assert not webcam.closed.is_set()
    source.close()
    assert webcam.closed.is_set()


def test_a_webcam_that_is_read_is_the_one_that_was_opened_ahead(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    webcams = [ListSource(2, "0", live=True)]
    monkeypatch.setitem(SOURCES, "webcam", lambda *_: webcams.pop())
    frames = iter(open_source(Camera("0", "0", config), SourceStates(), alone=True))
    assert [next(frames).index for _ in range(2)] == [0, 1]
    monkeypatch.setitem(SOURCES, "webcam", lambda location, *_: FileSource(location))
    with pytest.raises(SourceOpenError):
        open_source(Camera("0", "0", config), SourceStates(), alone=True)
