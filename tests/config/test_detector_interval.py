"""How often the detector looks, and what the user is told of settings that do nothing."""

from typing import Any

import pytest

from maskstream import load_config
from maskstream.config.detector_interval import analysed_per_detection, every_of, frames_per_detection, may_rest, remarks
from maskstream.config.loading import Layer, refine
from maskstream.config.schema import Config
from maskstream.inference.propagation import PropagatingAnalyzer
from tests.conftest import make_frame
from tests.inference.test_propagation import Detections


def config(every: int = 1, stride: int = 1, blur: str = "none") -> Config:
    values: dict[str, Any] = {"detector": {"every": every}, "stream": {"stride": stride}, "privacy": {"blur": blur}}
    return load_config(layers=[Layer("test", values)])


@pytest.mark.parametrize("blur", ["none", "all"])
@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("every", [1, 2, 3, 7])
def test_the_detector_looks_as_often_as_the_rule_says(every: int, stride: int, blur: str) -> None:
    chosen, looks = config(every, stride, blur), Detections()
    PropagatingAnalyzer(looks, chosen).analyze([make_frame(index) for index in range(0, 60, stride)])
    shown = [index for _, index in looks.shown]
    assert shown == list(range(0, 60, frames_per_detection(chosen)))
    assert frames_per_detection(chosen) == stride * analysed_per_detection(chosen)
    assert frames_per_detection(chosen) >= every_of(chosen)


def test_a_part_that_is_grey_is_said() -> None:
    part = Layer.of_key("test", "detector.region", [0.0, 0.0, 0.5, 1.0])
    assert list(remarks(refine(config(), part))) == []
    (line,) = remarks(refine(config(blur="all"), part))
    assert line.startswith("detector.region: the rest of the frame is filled with grey")


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (config(), None),
        (config(every=3), None),
        (config(every=3, stride=2), None),
        (config(every=3, stride=3), "detector.every: 3 is without effect: with a stride of 3"),
        (config(every=3, stride=5), "detector.every: 3 is without effect: with a stride of 5"),
        (config(stride=5), None),
        (config(every=3, blur="masked"), "detector.every: 3 is without effect: with privacy.blur"),
        (config(every=3, stride=5, blur="all"), "detector.every: 3 is without effect: with privacy.blur"),
        (config(blur="all"), None),
    ],
)
def test_what_does_nothing_is_said(chosen: Config, said: str | None) -> None:
    lines = list(remarks(chosen))
    assert len(lines) == (said is not None)
    assert "".join(lines).startswith(said or "")


@pytest.mark.parametrize(
    ("motion", "blur", "live", "rests"),
    [
        ("auto", "none", True, True),
        ("auto", "none", False, False),
        ("auto", "masked", True, False),
        (True, "none", False, True),
        (True, "all", True, True),
        (False, "none", True, False),
    ],
)
def test_where_the_detector_may_rest(motion: str | bool, blur: str, live: bool, rests: bool) -> None:
    assert may_rest(refine(config(blur=blur), Layer.of_key("test", "detector.motion", motion)), is_live=live) is rests


def test_a_picture_that_stands_is_said() -> None:
    rests = Layer.of_key("test", "detector.motion", True)
    assert list(remarks(refine(config(), rests))) == []
    (line,) = remarks(refine(config(blur="all"), rests))
    assert line.startswith("detector.motion: true with privacy.blur: while the detector rests, the last frame")
