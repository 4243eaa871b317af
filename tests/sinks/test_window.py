"""Tests with real windows and keys. Each test has a screen, and a process that opens a window on it."""

import multiprocessing
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import cv2
import numpy as np
import pytest

from maskstream.config.loading import load_config
from maskstream.config.schema import Config, WindowConfig
from maskstream.types import BgrImage, Frame, SourceInfo
from tests.displays import Display
from tests.slowness import LONGEST_S, slowness
from tests.video_files import BLUE, GREEN, RED, plain
from tests.window_child import Run, show

QUIET_S = 0.4
SIZE = (640, 480)
CAMERA = SourceInfo("camera", *SIZE, live=True)
CLIP = SourceInfo("clip", *SIZE, live=False)
WHITE_INK = 150
ATTEMPTS = 5
"""Without a window manager, Qt 5.15 sometimes loses the event that a window has appeared, and never paints it."""

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.window_child"])  # a second instead of five for each test

OpenWindow = Callable[..., "Window"]


def frame_of(source_id: str, shown: tuple[int, int, int], size: tuple[int, int] = SIZE, file: str | None = None) -> Frame:
    """Return a frame. Its annotated frame, which is its negative, has one colour."""
    return Frame(255 - plain(shown, size), 0, source_id, 0.0, file=file)


class Window:
    """A running program with a window, and the user in front of it."""

    def __init__(self, display: Display, run: Run, errors: Path) -> None:
        self.display = display
        self.times_s: list[float] = []
        self.farewell = ""
        self._errors = errors
        self._reports, theirs = multiprocessing.Pipe(duplex=False)
        self.process = PROCESSES.Process(target=show, args=(run, display.name, str(errors), theirs), daemon=True)
        self.process.start()
        theirs.close()
        display.window()

    def handed_over(self) -> int:
        """Return the number of frames and ends of sources that the window has received."""
        while not self.farewell and self._reports.poll():
            report = self._reports.recv()
            if isinstance(report, str):
                self.farewell = report
            else:
                self.times_s.append(report)
        return len(self.times_s)

    def press(self, *keys: str) -> None:
        self.display.press(*keys)

    def wait_for(self, condition: Callable[[], object]) -> None:
        deadline = monotonic() + LONGEST_S
        while not condition():
            assert self.process.is_alive(), self.log()
            assert monotonic() < deadline
            sleep(0.01)

    def goes_on(self) -> None:
        """Wait for the next frame."""
        before = self.handed_over()
        self.wait_for(lambda: self.handed_over() > before)

    def stands_still(self) -> bool:
        """Return whether no frame arrives for a moment."""
        before = self.handed_over()
        sleep(QUIET_S)
        return self.handed_over() == before

    def pixel(self, x: int, y: int) -> tuple[int, ...]:
        return tuple(self.display.screenshot()[y, x].tolist())

    def ends_by_itself(self) -> str:
        """Return why the run ended. Its exit code must be 0, and stderr must contain log lines only."""
        self.process.join(LONGEST_S)
        self.handed_over()
        assert self.process.exitcode == 0
        assert all(" | INFO " in line for line in self.log().splitlines())
        return self.farewell

    def is_painted(self) -> bool:
        """Return whether the window is painted within a second (longer on a slow machine). The mouse is further right."""
        deadline = monotonic() + slowness()
        while monotonic() < deadline and not self.display.screenshot()[:, :640].any():
            sleep(0.01)
        return bool(self.display.screenshot()[:, :640].any())

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def log(self) -> str:
        return self._errors.read_text()


@pytest.fixture
def open_window(display: Display, tmp_path: Path) -> Iterator[OpenWindow]:
    opened: list[Window] = []

    def open_one(
        *sources: SourceInfo,
        items: tuple[Frame | str | tuple[str, Config], ...] = (),
        endless: bool = False,
        picture_s: float = 0.0,
    ) -> Window:
        run = Run(sources, items, WindowConfig(picture_s=picture_s, snapshots=str(tmp_path / "saved")), endless)
        for attempt in range(ATTEMPTS):
            opened.append(Window(display, run, tmp_path / f"stderr_{attempt}.txt"))
            if opened[-1].is_painted():
                return opened[-1]
            opened[-1].kill()
            sleep(QUIET_S)  # the X server resets when its last client disconnects
        pytest.fail("the window stays black")

    yield open_one
    for window in opened:
        window.kill()


@pytest.fixture
def live(open_window: OpenWindow) -> Window:
    """A blue camera that never ends."""
    return open_window(CAMERA, items=(frame_of("camera", BLUE),), endless=True)


@pytest.fixture
def clip(open_window: OpenWindow) -> Window:
    """A blue file that never ends."""
    return open_window(CLIP, items=(frame_of("clip", BLUE),), endless=True)


@pytest.mark.parametrize(
    "keys",
    [["q"], *(pytest.param(keys, marks=pytest.mark.slow) for keys in (["Q"], ["Caps_Lock", "q"], ["Escape"]))],
    ids=" ".join,
)
def test_key_that_quits(live: Window, keys: list[str]) -> None:
    live.press(*keys)
    assert live.ends_by_itself() == "the user has quit"
    assert "q or Esc quits, s saves the frames" in live.log()


@pytest.mark.slow
def test_closing_the_window_quits(live: Window) -> None:
    live.display.ask_to_close()
    assert live.ends_by_itself() == "the window was closed"


@pytest.mark.slow
def test_other_keys_do_nothing(live: Window) -> None:
    live.press("Left", "Up", "Right", "Down", "Return", "F1", "a")
    live.goes_on()
    assert len(live.log().splitlines()) == 1


def test_s_saves_the_annotated_image_each_time(live: Window, tmp_path: Path) -> None:
    for lines in (2, 3):
        live.press("s")
        live.wait_for(lambda lines=lines: len(live.log().splitlines()) == lines)
    saved = sorted((tmp_path / "saved").iterdir())
    assert len(saved) == 2
    assert all(re.fullmatch(r"maskstream-camera-\d{8}-\d{6}(_2)?\.png", path.name) for path in saved)
    assert all((cv2.imread(str(path)) == plain(BLUE, SIZE)).all() for path in saved)
    assert all(str(path) in live.log() for path in saved)


@pytest.mark.slow
def test_run_survives_an_image_that_cannot_be_saved(live: Window, tmp_path: Path) -> None:
    (tmp_path / "saved").write_text("a file where the folder should be")
    live.press("s")
    live.wait_for(lambda: "cannot be saved" in live.log())
    live.goes_on()
    assert len(live.log().splitlines()) == 2


def test_space_pauses_and_goes_on(clip: Window) -> None:
    clip.press("space")
    clip.wait_for(clip.stands_still)
    clip.press("space")
    clip.goes_on()


@pytest.mark.slow
def test_s_and_q_in_a_pause(clip: Window) -> None:
    clip.press("space")
    clip.wait_for(clip.stands_still)
    clip.press("s")
    clip.wait_for(lambda: "saved" in clip.log())
    assert clip.stands_still()
    clip.press("q")
    assert clip.ends_by_itself() == "the user has quit"


@pytest.mark.slow
def test_window_closed_in_a_pause(clip: Window) -> None:
    clip.press("space")
    clip.wait_for(clip.stands_still)
    clip.display.ask_to_close()
    assert clip.ends_by_itself() == "the window was closed"


def test_live_source_is_not_paused(live: Window) -> None:
    live.press("space")
    live.wait_for(lambda: "cannot be paused" in live.log())
    live.goes_on()
    assert len(live.log().splitlines()) == 2


@pytest.mark.slow
def test_grid_of_sources(open_window: OpenWindow, tmp_path: Path) -> None:
    sources = [SourceInfo(name, *SIZE, live=False) for name in ("red", "green", "waiting")]
    window = open_window(*sources, items=(frame_of("red", RED), frame_of("green", GREEN), "green"))
    assert window.display.size() == (960, 720)
    window.wait_for(lambda: window.pixel(240, 180) == RED)
    window.wait_for(lambda: window.pixel(720, 180) == GREEN)
    screen = window.display.screenshot()
    assert has_writing(screen[:40, :80])
    assert has_writing(screen[320:360, :80])
    assert has_writing(screen[500:580, :480])  # "waiting", in the middle of its cell
    assert not screen[360:720, 800:960].any()
    window.press("s")
    window.wait_for(lambda: len(window.log().splitlines()) == 3)
    assert sorted(path.name.split("-")[1] for path in (tmp_path / "saved").iterdir()) == ["green", "red"]


def test_a_frame_that_was_drawn_with_other_settings_is_cleared(open_window: OpenWindow) -> None:
    """Faces in it may have to be anonymised now."""
    sources = [SourceInfo(name, *SIZE, live=True) for name in ("changed", "other")]
    items = (frame_of("changed", RED), frame_of("other", GREEN), ("changed", load_config()))
    window = open_window(*sources, items=items)
    window.wait_for(lambda: window.pixel(960, 180) == GREEN)
    window.wait_for(lambda: window.pixel(320, 180) == (0, 0, 0))


def test_of_many_files_only_those_that_are_open_are_shown(open_window: OpenWindow) -> None:
    """Of a hundred files, two are open at the same time. The cell of a file that has ended is removed."""
    sources = [SourceInfo(f"{index}.mp4", 0, 0, live=False) for index in range(100)]
    first = (frame_of("0.mp4", RED), frame_of("1.mp4", GREEN), "0.mp4", "1.mp4")
    window = open_window(*sources, items=(*first, frame_of("2.mp4", BLUE), "99.mp4"))
    window.wait_for(lambda: window.pixel(320, 240) == BLUE)
    assert window.display.size() == SIZE
    screen = window.display.screenshot()
    assert (screen[50:400, 10:600] == BLUE).all()


def has_writing(area: BgrImage) -> bool:
    return bool((area.min(axis=2) > WHITE_INK).any())


def test_status_and_growing_age_without_frames(open_window: OpenWindow) -> None:
    window = open_window(CAMERA, items=(frame_of("camera", BLUE),))
    window.wait_for(lambda: window.pixel(320, 240) == BLUE)
    before = window.display.screenshot()
    assert has_writing(before[440:480, :320])
    assert (before[:440, :640] == BLUE).all()
    window.wait_for(lambda: (window.display.screenshot()[440:480] != before[440:480]).any())
    assert (window.display.screenshot()[:440] == before[:440]).all()


@pytest.mark.slow
def test_image_fits_a_resized_window(live: Window) -> None:
    live.display.resize(300, 500)
    live.wait_for(lambda: live.pixel(150, 250) == BLUE)
    live.wait_for(lambda: live.pixel(150, 50) == (0, 0, 0))
    assert live.pixel(10, 140) == live.pixel(290, 360) == BLUE
    assert live.pixel(150, 130) == live.pixel(150, 370) == live.pixel(310, 250) == (0, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "window_size"),
    [((7680, 4320), (1280, 720)), ((1, 1), (320, 240)), ((1000, 10), (1000, 240)), ((1, 9000), (320, 720))],
)
def test_extreme_sizes(open_window: OpenWindow, size: tuple[int, int], window_size: tuple[int, int]) -> None:
    info = SourceInfo("clip", *size, live=False)
    window = open_window(info, items=(frame_of("clip", BLUE, size),))
    assert window.display.size() == window_size
    middle = (window_size[0] // 2, window_size[1] // 2)
    if size != (1, 9000):  # nothing of that can be seen
        window.wait_for(lambda: window.pixel(*middle) == BLUE)
    window.press("q")
    assert window.ends_by_itself() == "the user has quit"


@pytest.mark.slow
def test_each_image_is_shown_for_picture_s(open_window: OpenWindow) -> None:
    colours = {"a.png": RED, "b.png": GREEN, "c.png": BLUE}
    info = SourceInfo("folder", *SIZE, live=False, images=tuple(colours))
    images = [frame_of("folder", colour, file=name) for name, colour in colours.items()]
    picture_s = 0.8 * slowness()
    window = open_window(info, items=(*images, "folder"), picture_s=picture_s)
    seen = []
    for number, colour in enumerate(colours.values(), 1):
        window.wait_for(lambda number=number: window.handed_over() >= number)
        window.wait_for(lambda colour=colour: window.pixel(320, 240) == colour)
        seen.append(window.handed_over())
    window.wait_for(lambda: window.handed_over() == 4)
    assert seen == [1, 2, 3]
    assert all(picture_s - 0.01 < stood_s < picture_s + 0.4 * slowness() for stood_s in np.diff(window.times_s))


@pytest.mark.slow
def test_space_holds_an_image(open_window: OpenWindow) -> None:
    info = SourceInfo("folder", *SIZE, live=False, images=("a.png", "b.png"))
    images = [frame_of("folder", colour, file="a.png") for colour in (RED, GREEN)]
    picture_s = 3 * slowness()  # within which the key must be pressed
    window = open_window(info, items=tuple(images), picture_s=picture_s)
    window.press("space")
    sleep(picture_s + 0.5)
    assert window.handed_over() == 1
    window.press("space")
    window.wait_for(lambda: window.handed_over() == 2)
