from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from maskstream.config.loading import Layer, load_config, refine
from maskstream.evaluation import sets_run
from maskstream.evaluation.metrics_json import SystemInfo
from maskstream.evaluation.request import EvaluationRequest
from maskstream.evaluation.run import LoadedSystem
from maskstream.evaluation.sets_run import SetRequest, evaluate_sets
from maskstream.io.images import write_image
from maskstream.types import Frame, FrameResult

CONFIG = refine(load_config(), Layer("test", {"evaluation": {"bootstrap": 0}}))


class StoppedSystem:
    """Finds no faces; stops at one image the first time."""

    def __init__(self, stops_at: str) -> None:
        self.seen: list[str] = []
        self._stops_at = stops_at

    def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
        for frame in frames:
            if frame.file == self._stops_at:
                self._stops_at = ""
                raise KeyboardInterrupt
            self.seen.append(frame.file or "")
        return [FrameResult.of(frame, (), (), {}) for frame in frames]


def test_an_interrupted_run_continues_in_the_set_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = StoppedSystem("second_1.png")
    info = SystemInfo(name="maskstream", description="", weights={}, device="cpu")
    monkeypatch.setattr(sets_run, "load_system", lambda *_: LoadedSystem(system, info, "fingerprint", 0.5, 0.05))
    sets = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        for index in range(2):
            write_image(tmp_path / name / f"{name}_{index}.png", np.zeros((40, 40, 3), np.uint8))
        request = EvaluationRequest(tmp_path / name, None, tmp_path / "out" / name, unlabelled="negative")
        sets.append(SetRequest(name, request, refine(CONFIG, Layer("test", {"stream": {"batch_size": 1}}))))
    with pytest.raises(KeyboardInterrupt):
        evaluate_sets(sets, tmp_path / "out")
    metrics = evaluate_sets(sets, tmp_path / "out")
    assert sorted(system.seen) == ["first_0.png", "first_1.png", "second_0.png", "second_1.png"]
    assert metrics.pictures_analysed == 1
    assert list(metrics.sets) == ["first", "second"]
    assert list((tmp_path / "out").rglob(".*")) == []
