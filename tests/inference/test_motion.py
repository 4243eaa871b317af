"""The change detector sees what a person would do, and little else."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from maskstream.benchmark.scenes import Scene, Visit
from maskstream.inference.motion import ChangeDetector
from maskstream.types import BgrImage
from tests.conftest import make_frame

THRESHOLD = 8.0
FPS = 5.0
QUIET_S = 2.0


def place(size: tuple[int, int] = (320, 180), seed: int = 1) -> BgrImage:
    """A room with edges and areas of one brightness."""
    rng = np.random.default_rng(seed)
    canvas = np.full((size[1], size[0], 3), 120, np.uint8)
    for _ in range(25):
        x, y = (int(value) for value in rng.uniform(0, 1, 2) * size)
        colour = [int(value) for value in rng.integers(40, 200, 3)]
        cv2.rectangle(canvas, (x, y), (x + size[0] // 6, y + size[1] // 6), colour, -1)
    return canvas


def changes(at: Callable[[float], BgrImage], start_s: float, end_s: float, detector: ChangeDetector | None = None) -> list[float]:
    """The times at which the detector sees a change."""
    detector = detector or ChangeDetector()
    times_s = np.arange(start_s, end_s, 1 / FPS).tolist()
    return [time_s for time_s in times_s if detector.update(at(time_s), time_s, THRESHOLD)]


@pytest.mark.parametrize("noise", [0.0, 2.0, 8.0])
def test_noise_is_no_change_after_the_first_frame(noise: float) -> None:
    assert changes(Scene(place(), noise=noise).at, 0, QUIET_S) == [0.0]


@pytest.mark.parametrize("side_px", [6, 8, 12, 30])
@pytest.mark.parametrize("seed", range(4))
def test_a_small_face_is_seen_in_its_first_frame(side_px: int, seed: int) -> None:
    """6 pixels of 180 lines: the detector does not find smaller ones."""
    at = tuple(np.random.default_rng(seed).uniform([40, 30], [280, 150]).tolist())
    face = np.random.default_rng(seed).integers(0, 255, (5, 5, 3), np.uint8)
    comes = Visit(np.asarray(cv2.resize(face, (80, 80)), np.uint8), side_px, QUIET_S, QUIET_S + 9, at, at)
    assert changes(Scene(place(seed=seed), [comes]).at, 0, QUIET_S + 0.1)[-1] == QUIET_S


def test_what_stands_still_becomes_part_of_the_background() -> None:
    crate = Visit(np.full((90, 90, 3), 250, np.uint8), 45, QUIET_S, 60, (150, 100), (150, 100))
    seen_s = changes(Scene(place(), [crate]).at, 0, 20)[1:]
    assert seen_s[0] == QUIET_S
    assert QUIET_S + 3 < seen_s[-1] < QUIET_S + 15
    assert np.ptp(np.diff(seen_s)) < 1e-6  # without a break


def test_a_place_is_quiet_again_soon_after_somebody_has_left() -> None:
    walker = Visit(np.full((90, 30, 3), 235, np.uint8), 60, QUIET_S, QUIET_S + 3, (40, 90), (280, 90))
    seen_s = changes(Scene(place(), [walker]).at, 0, 30)[1:]
    assert seen_s[0] == QUIET_S
    assert QUIET_S + 2.8 <= seen_s[-1] < QUIET_S + 10


def test_light_that_changes_slowly_is_no_change() -> None:
    assert changes(Scene(place(), light=0.2).at, 0, 20) == [0.0]


def test_light_that_is_switched_is_a_change_for_a_moment() -> None:
    dark, bright = Scene((place() // 3).astype(np.uint8)), Scene(cv2.add(place(), (60, 60, 60, 0)).astype(np.uint8))
    seen_s = changes(lambda time_s: (dark if time_s < QUIET_S else bright).at(time_s), 0, QUIET_S + 9)[1:]
    assert seen_s[0] == QUIET_S
    assert seen_s[-1] < QUIET_S + 8


@pytest.mark.parametrize("shake_px", [0.5, 1.5, 2.0])
def test_a_camera_that_shakes_settles(shake_px: float) -> None:
    """320x180: up to 2 px each way, as on a pole in the wind."""
    detector, scene = ChangeDetector(), Scene(place(), shake_px=shake_px)
    changes(scene.at, 0, 20, detector)
    seen_s = changes(scene.at, 20, 40, detector)
    assert len(seen_s) < 0.1 * 20 * FPS


def test_a_person_is_seen_by_a_camera_that_shakes() -> None:
    detector, background = ChangeDetector(), place()
    person = Visit(np.full((120, 40, 3), 235, np.uint8), 30, 20, 24, (75, 90), (225, 90))
    scene = Scene(background, [person], shake_px=1.5)
    changes(scene.at, 0, 20, detector)
    seen_s = changes(scene.at, 20, 24, detector)
    assert seen_s[0] == 20
    assert len(seen_s) > 0.9 * 4 * FPS


def test_a_camera_that_turns_changes_everything() -> None:
    wide = place((1280, 180))
    turning = changes(lambda time_s: wide[:, int(50 * time_s) : int(50 * time_s) + 320], 0, 10)
    assert len(turning) == 10 * FPS


def test_a_frame_of_another_size_is_a_change() -> None:
    detector = ChangeDetector()
    for index, width in enumerate([64, 64, 80, 80, 64]):
        has_changed = detector.update(make_frame(0, width).bgr, index / FPS, THRESHOLD)
        assert has_changed == (index in (0, 2, 4))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (3, 2), (4000, 90), (95, 97)])
def test_any_size_is_compared(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    detector = ChangeDetector()
    assert [detector.update(image, time_s, THRESHOLD) for time_s in (0, 1, 2)] == [True, False, False]
    detector.update(255 - image, 3, THRESHOLD)  # with a shift to estimate


def test_a_time_that_stands_or_runs_back_is_no_error() -> None:
    detector, image = ChangeDetector(), place()
    assert [detector.update(image, time_s, THRESHOLD) for time_s in (5, 5, 4, 1e9, 0)] == [True, False, False, False, False]


def test_a_higher_threshold_sees_less() -> None:
    faint = np.clip(place().astype(int) + np.pad(np.full((60, 60, 1), 8), ((60, 60), (100, 160), (0, 0))), 0, 255)
    for threshold, sees in ((4.0, True), (16.0, False)):
        detector = ChangeDetector()
        detector.update(place(), 0, threshold)
        assert detector.update(faint.astype(np.uint8), 0.1, threshold) == sees
