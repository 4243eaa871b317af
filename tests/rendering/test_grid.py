from dataclasses import replace

import numpy as np
import pytest

from maskstream.rendering.grid import Cell, draw_grid, grid_shape
from maskstream.types import Frame, SourceInfo
from tests.video_files import BLUE, GREEN, RED, every, output_of, plain

NOW_S = 100.0


def cell_with(*times_s: float, name: str = "camera", live: bool = False, dropped: int = 0, file: str | None = None) -> Cell:
    """Return a cell with blue frames at these times. Each was captured 0.25 s earlier."""
    cell = Cell(SourceInfo(name, 64, 48, live=live, images=(file,) if file else ()))
    for time_s in times_s:
        frame = Frame(plain(BLUE), 0, name, 0.0, captured_at_s=time_s - 0.25, file=file)
        cell.take(replace(output_of(frame), dropped=dropped), time_s)
    return cell


@pytest.mark.parametrize("fps", [0.5, 1.0, 2.0, 12.5, 30.0, 300.0])
def test_frames_per_second_of_a_steady_stream(fps: float) -> None:
    times_s = every(1 / fps, 2 * round(fps) + 3, start_s=NOW_S)
    assert cell_with(*times_s).fps(times_s[-1] + 0.9 / fps) == pytest.approx(fps)


def test_frames_per_second_follow_a_change_within_a_second() -> None:
    assert cell_with(*every(0.1, 50), *every(0.02, 55, start_s=5.0)).fps(6.1) == pytest.approx(50, rel=0.05)


def test_frames_per_second_fall_when_no_frame_comes() -> None:
    cell = cell_with(*every(0.1, 11))
    assert cell.fps(1.1) == pytest.approx(10)
    assert cell.fps(2.1) == pytest.approx(5)
    assert cell.fps(1000) < 0.05


def test_first_frame_has_no_rate() -> None:
    assert cell_with(NOW_S).fps(NOW_S) == 0


@pytest.mark.parametrize(
    ("settings", "ended", "paused", "status"),
    [
        ({}, False, False, "10.0 fps"),
        ({"live": True}, False, False, "10.0 fps   age 0.30 s"),
        ({"live": True, "dropped": 3}, False, False, "10.0 fps   age 0.30 s   3 dropped"),
        ({"dropped": 3}, False, True, "paused   3 dropped"),
        ({"live": True, "dropped": 3}, True, False, "ended   3 dropped"),
        ({}, True, True, "ended"),
        ({"file": "folder/face.png"}, False, False, "face.png"),
        ({"file": "folder/face.png"}, False, True, "face.png   paused"),
    ],
)
def test_status(settings: dict[str, object], ended: bool, paused: bool, status: str) -> None:
    cell = cell_with(*every(0.1, 12, start_s=NOW_S - 1.1), **settings)  # type: ignore[arg-type]
    cell.ended = ended
    assert cell.status(NOW_S + 0.05, paused) == status


def test_status_without_a_frame() -> None:
    cell = cell_with()
    assert cell.status(NOW_S, False) == "waiting"
    cell.ended = True
    assert cell.status(NOW_S, False) == "ended"


@pytest.mark.parametrize(
    ("count", "shape"), [(1, (1, 1)), (2, (2, 1)), (3, (2, 2)), (4, (2, 2)), (5, (3, 2)), (9, (3, 3)), (16, (4, 4)), (17, (5, 4))]
)
def test_grid_shape(count: int, shape: tuple[int, int]) -> None:
    assert grid_shape(count) == shape


def test_cells_in_reading_order() -> None:
    cells = []
    for index, color in enumerate((RED, GREEN, BLUE)):
        cells.append(Cell(SourceInfo(str(index), 64, 48, live=False)))
        cells[-1].take(output_of(Frame(plain(color), 0, str(index), 0.0)), NOW_S)
    image = draw_grid(cells, (401, 301), NOW_S, paused=False)
    assert image.shape == (301, 401, 3)
    centres = [tuple(image[y, x]) for y in (75, 225) for x in (100, 300)]
    assert centres == [RED, GREEN, BLUE, (0, 0, 0)]


def test_newest_frame_is_shown() -> None:
    cell = cell_with(NOW_S)
    assert tuple(draw_grid([cell], (64, 48), NOW_S, paused=False)[10, 32]) == BLUE
    cell.take(output_of(Frame(plain(RED), 1, "camera", 0.0)), NOW_S)
    assert tuple(draw_grid([cell], (64, 48), NOW_S, paused=False)[10, 32]) == RED


def test_clear_removes_the_frame_at_once() -> None:
    cell = cell_with(NOW_S)
    draw_grid([cell], (64, 48), NOW_S, paused=False)
    cell.clear()
    assert BLUE not in set(map(tuple, draw_grid([cell], (64, 48), NOW_S, paused=False).reshape(-1, 3).tolist()))
    assert cell.status(NOW_S, paused=False) == "waiting"
    cell.take(output_of(Frame(plain(RED), 1, "camera", 0.0)), NOW_S)
    assert tuple(draw_grid([cell], (64, 48), NOW_S, paused=False)[10, 32]) == RED


@pytest.mark.parametrize("level", [0, 90, 255])
def test_status_is_readable_on_any_image(level: int) -> None:
    cell = Cell(SourceInfo("camera", 640, 360, live=True))
    cell.take(output_of(Frame(np.full((360, 640, 3), level, np.uint8), 0, "camera", 0.0)), NOW_S)
    ground, ink = np.percentile(draw_grid([cell], (640, 360), NOW_S, paused=False)[342:358, 4:60].max(axis=2), [20, 99])
    assert ink > 230
    assert ground < 70


def test_the_last_frame_of_a_lost_camera_is_dimmed() -> None:
    cell = cell_with(NOW_S, live=True)
    cell.away = "offline since 14:03:22"
    assert cell.status(NOW_S, paused=False) == "offline since 14:03:22"
    assert tuple(draw_grid([cell], (640, 480), NOW_S, paused=False)[10, 320]) == tuple(level // 3 for level in BLUE)
    cell.away = ""
    assert tuple(draw_grid([cell], (640, 480), NOW_S, paused=False)[10, 320]) == BLUE


def test_grid_without_cells_is_black() -> None:
    assert not draw_grid([], (64, 48), NOW_S, paused=False).any()


def test_frames_are_not_modified() -> None:
    cell = cell_with(NOW_S, live=True, dropped=3)
    draw_grid([cell], (64, 48), NOW_S, paused=False)
    assert cell.output is not None
    assert (cell.output.annotated_bgr == plain(BLUE)).all()
    assert (cell.output.frame.bgr == plain(BLUE)).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (20, 400), (400, 20), (3840, 2160)])
@pytest.mark.parametrize("count", [1, 3, 20])
def test_windows_of_any_size(size: tuple[int, int], count: int) -> None:
    cells = [cell_with(*every(0.1, number % 3), name=f"camera {number}", live=True) for number in range(count)]
    assert draw_grid(cells, size, NOW_S, paused=False).shape == (size[1], size[0], 3)


@pytest.mark.parametrize("name", ["Größe", "大门", "😀"])
def test_names_in_any_script_are_drawn_in_their_cell(name: str) -> None:
    def drawn(named: str) -> np.ndarray:
        return draw_grid([cell_with(NOW_S, name=named), cell_with(NOW_S)], (640, 360), NOW_S, paused=False)[:40, :320]

    assert (drawn(name) != drawn("?")).any()
    assert (drawn(name) != drawn("?" * len(name))).any()


@pytest.mark.parametrize("name", ["x" * 500, "Größe вход", "not \udcff text", "two\nlines"])
def test_strange_names(name: str) -> None:
    draw_grid([cell_with(name=name), cell_with(NOW_S, name=name)], (640, 360), NOW_S, paused=False)
