"""What several tests need: the models, loaded once, pictures of the demo clip, and tools of the system."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import HealthCheck
from loguru import logger

import maskstream.tracking.tracker  # noqa: F401  in a run a thread does that, which may outlive a test of a failed start
from maskstream import MaskPipeline, load_config
from maskstream.config.schema import Config
from maskstream.sources import FileSource
from maskstream.types import FACE_KEYPOINTS, BgrImage, Detection, Face, Frame, Label
from tests.command_lines import ROOT, fork_server
from tests.displays import Display, x_server
from tests.servers import SYSTEM_PYTHON

DEMO = ROOT / "assets" / "demo.mp4"
LONGEST_FIRST = (
    "sources/test_url.py",
    "models/test_backends.py",
    "sinks/test_window.py",
    "end_to_end/test_sources.py",
    "end_to_end/test_run_stream.py",
    "config/test_loading_properties.py",
    "sinks/test_audio.py",
    "end_to_end/test_people.py",
    "end_to_end/test_bad_input.py",
    "sources/test_rtsp_transport.py",
    "inference/test_pipeline.py",
    "end_to_end/test_start.py",
    "sources/test_streaming_protocols.py",
    "tools/test_evaluate.py",
    "sources/test_hls.py",
    "training/test_loop.py",
    "evaluation/test_html_report.py",
    "sources/test_live_detection.py",
    "cli/test_streams.py",
)
"""Files of tests that take 10 s or more."""
APT_PACKAGES = {"ffprobe": "ffmpeg", "node": "nodejs", "chromium": "chromium", "Xvfb": "xvfb", "xdotool": "xdotool"}
APT_PACKAGES |= {
    "strace": "strace",
    "ffmpeg": "ffmpeg",
    "mosquitto": "mosquitto",
    "openssl": "openssl",
    "gst-rtsp-server": "python3-gi gir1.2-gst-rtsp-server-1.0",
}

hypothesis.settings.register_profile(
    "quick",
    max_examples=30,
    derandomize=True,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
"""The same examples each time, on a machine of any speed."""
hypothesis.settings.register_profile(
    "deep", hypothesis.settings.get_profile("quick"), max_examples=1000, derandomize=False, stateful_step_count=100
)
"""Other examples each time, to look for what nobody has thought of: `pytest --hypothesis-profile=deep -k properties`."""
hypothesis.settings.load_profile("quick")


def pytest_configure(config: pytest.Config) -> None:
    """Run one fork server for all processes that run tests; the first of them has it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as where a shell has started this in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        running = ExitStack()
        running.enter_context(fork_server())
        config.add_cleanup(running.close)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no process is left with one of them in the end."""
    place = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(str(item.path.relative_to(ROOT / "tests")), len(place)))


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled networks are kept where the tests end, once for all processes that run tests."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared / "cache"))
        yield


@pytest.fixture(scope="session")
def config() -> Config:
    return load_config()


@pytest.fixture(scope="session")
def pipeline(config: Config) -> MaskPipeline:
    return MaskPipeline(config)


@pytest.fixture(scope="session")
def demo_frames() -> list[Frame]:
    """The first two seconds of the demo clip."""
    source = FileSource(str(DEMO))
    frames = [frame for frame, _ in zip(source, range(50), strict=False)]
    source.close()
    return frames


@pytest.fixture(scope="session")
def face_bgr(demo_frames: list[Frame]) -> BgrImage:
    """A picture with faces without a mask."""
    return demo_frames[0].bgr


def lacks(name: str) -> None:
    """Skip the test that needs what the system does not have, or let it fail where `MASKSTREAM_REQUIRE_TOOLS` is set."""
    message = f"{name} is missing: apt-get install {APT_PACKAGES[name]}"
    (pytest.fail if os.environ.get("MASKSTREAM_REQUIRE_TOOLS") else pytest.skip)(message)


@pytest.fixture(scope="session")
def system_tool() -> Callable[[str], str]:
    """Find a program of the system; without it the test is skipped, or fails where `MASKSTREAM_REQUIRE_TOOLS` is set."""

    def find(name: str) -> str:
        path = shutil.which(name) or shutil.which(name, path="/usr/sbin")
        if path is None:
            lacks(name)
        return path

    return find


@pytest.fixture(scope="session")
def rtsp_tools(system_tool: Callable[[str], str]) -> None:
    """What `servers.rtsp_server` runs: ffmpeg, and the Python of the system with the bindings of GStreamer."""
    system_tool("ffmpeg")
    load = [SYSTEM_PYTHON, "-c", "import gi; gi.require_version('GstRtspServer', '1.0')"]
    if not Path(SYSTEM_PYTHON).exists() or subprocess.run(load, capture_output=True, check=False).returncode:
        lacks("gst-rtsp-server")


@pytest.fixture
def signals() -> Iterator[None]:
    """The handlers of before come back after the test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that we are in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def display(system_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Display]:
    """A screen for one test."""
    with x_server(system_tool, tmp_path_factory.mktemp("screen")) as server:
        yield server


def make_detection(
    left_eye: tuple[float, float] = (60, 40),
    right_eye: tuple[float, float] = (40, 40),
    nose: tuple[float, float] = (50, 52),
    box: tuple[float, float, float, float] = (28, 20, 72, 74),
    score: float = 0.9,
    point_score: float = 0.9,
) -> Detection:
    """A face seen from the front, where nothing else is said."""
    return Detection(
        np.array(box, np.float32),
        score,
        np.array([nose, left_eye, right_eye], np.float32),
        np.full(3, point_score, np.float32),
        FACE_KEYPOINTS,
    )


def make_detections(*scores: float) -> list[Detection]:
    """Faces side by side, from the left to the right."""
    found = [make_detection(score=score) for score in scores]
    shifts = [np.array([60 * index, 0], np.float32) for index in range(len(found))]
    return [
        replace(face, box_xyxy=face.box_xyxy + np.tile(shift, 2), keypoints_xy=face.keypoints_xy + shift)
        for face, shift in zip(found, shifts, strict=True)
    ]


def make_face(label: Label = Label.MASK, judged: bool = True, **detection: object) -> Face:
    found = make_detection(**detection)  # type: ignore[arg-type]
    x1, y1, x2, y2 = found.box_xyxy
    quad = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float32)
    return Face(found, quad, found.box_xyxy, label, None if label is Label.UNKNOWN else 0.93, judged=judged)


def make_frame(index: int = 0, width: int = 64, height: int = 48, source_id: str = "made", fps: float = 25) -> Frame:
    bgr = np.full((height, width, 3), index % 256, np.uint8)
    return Frame(bgr, index, source_id, index / fps, 1 / fps)


@pytest.fixture
def said() -> Iterator[list[str]]:
    """Lines of the log, as LEVEL MESSAGE."""
    lines: list[str] = []
    handler = logger.add(lambda message: lines.append(str(message)), format="{level} {message}")
    yield lines
    logger.remove(handler)
