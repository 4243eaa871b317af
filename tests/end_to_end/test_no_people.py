"""The networks see a bare face where there is none: no event follows. All stages but the networks are the real ones."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from maskstream import Analyzer, load_config
from maskstream.config.loading import Layer
from maskstream.events.detector import EventDetector
from maskstream.events.sink import EventSink, JsonlEvents
from maskstream.inference.propagation import PropagatingAnalyzer
from maskstream.tracking.analyzer import PeopleAnalyzer
from tests.conftest import make_detection
from tests.inference.test_analyzer import GivenClassifier, GivenDetector
from tests.tracking.made import frame_at, output_with

FRAMES = [frame_at(index) for index in range(125)]


def starts_of_events(path: Path, score: float, eyes: float, background: float, **events: float) -> int:
    """Return the number of events in the file after five seconds in which the networks answer the same."""
    config = load_config(layers=[Layer("test", {"events": events})])
    probabilities = (0.02 * (1 - background), 0.98 * (1 - background), 0.0, background)
    found = make_detection(score=score, point_score=eyes)
    analyzer = Analyzer(GivenDetector([found]), GivenClassifier(probabilities), config)
    people = PeopleAnalyzer(PropagatingAnalyzer(analyzer, config), config)
    with closing(EventSink(EventDetector(config), JsonlEvents(str(path)))) as sink:
        for frame in FRAMES:
            sink.write(output_with(frame, people.analyze([frame])[0].faces))
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return sum(record["type"] == "event" and record["phase"] == "start" for record in records)


@pytest.mark.parametrize(
    ("score", "eyes", "background"), [(0.94, 0.39, 0.6), (0.8, 0.42, 0.47), (0.65, 0.32, 0.01)], ids=["hands", "glass", "statue"]
)
def test_no_event_of_what_is_no_face(tmp_path: Path, score: float, eyes: float, background: float) -> None:
    assert starts_of_events(tmp_path / "events.jsonl", score, eyes, background) == 0
    assert starts_of_events(tmp_path / "label_is_enough.jsonl", score, eyes, background, min_evidence=0) == 1


def test_a_small_bare_face_has_an_event(tmp_path: Path) -> None:
    assert starts_of_events(tmp_path / "events.jsonl", score=0.86, eyes=0.54, background=0.02) == 1
