"""Events are consistent for every order of faces, clocks, states and removals."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from maskstream import load_config
from maskstream.config.loading import Layer
from maskstream.config.source_settings import SourceSettings
from maskstream.events.detector import EventDetector
from maskstream.events.event_records import event_record
from maskstream.events.sink import EventSink
from maskstream.events.types import EventOrCounts, MaskEvent, MinuteCounts, Phase
from maskstream.stream.states import SourceState, StateChange
from maskstream.types import Face, Label, Output
from tests.properties import any_number, floats32
from tests.tracking.made import frame_at, output_with, person

SOURCES = st.sampled_from(["door", "lab"])
STEPS_S = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.04, 1.4, 2.0, 60.0, 1e6, -0.1, -1.4, -5.0, -1e6]))
WALL = datetime(2026, 3, 1, 11, 59, 30, tzinfo=UTC)


CONFIGS = [
    load_config(layers=[Layer("test", {"events": {"labels": labels, "min_seconds": min_seconds, "update_s": update_s}})])
    for labels in (["no_mask", "incorrect"], ["mask", "no_mask", "incorrect"], [])
    for min_seconds, update_s in ((0.0, 0.1), (0.05, 1.0), (1.0, 10.0))
]
RULES = st.integers(0, len(CONFIGS) - 1)
NUMBERS = any_number(st.floats(0, 1))
BOXES = st.lists(any_number(st.floats(-50, 700)), min_size=4, max_size=4)


@st.composite
def faces(draw: st.DrawFn) -> tuple[Face, ...]:
    """Some of three people in any order, and a person without a number; sometimes with NaN."""
    found = []
    for number in draw(st.lists(st.sampled_from([1, 2, 3, None]), unique=True)):
        own, steady = draw(st.sampled_from(Label)), draw(st.none() | st.sampled_from(Label))
        found.append(
            replace(
                person(1, own, zone=draw(st.sampled_from([None, "hall"]))),
                track_id=number,
                judged=draw(st.booleans()),
                confidence=None if own is Label.UNKNOWN else draw(NUMBERS),
                steady_label=steady,
                steady_confidence=None if steady in (None, Label.UNKNOWN) else draw(NUMBERS),
                face_box_xyxy=floats32(draw(BOXES)),
            )
        )
    return tuple(found)


class Receiver:
    """Keeps what it takes."""

    def __init__(self) -> None:
        self.taken: list[EventOrCounts] = []

    def take(self, items: Sequence[EventOrCounts]) -> None:
        assert items
        self.taken += items

    def state_changed(self, change: StateChange) -> None:
        """Not checked here."""

    def close(self) -> None:
        """Nothing to finish."""


class DetectorMachine(RuleBasedStateMachine):
    """Two sources, and two receivers that share one detector, as in a run."""

    @initialize(rules=RULES, has_clock=st.booleans())
    def begin(self, rules: int, has_clock: bool) -> None:
        self.settings = SourceSettings(CONFIGS[rules])
        self.detector = EventDetector(self.settings)
        self.receivers = [Receiver(), Receiver()]
        self.sinks = [EventSink(self.detector, receiver) for receiver in self.receivers]
        self.now_s: dict[str, float] = defaultdict(float)
        self.frames = 0
        self.has_clock = has_clock
        self.seen: dict[str, int] = defaultdict(int)
        self.checked = 0
        self.open: dict[tuple[str, int], MaskEvent] = {}
        """The last record of each event that has not ended, by source and person."""
        self.ids: set[str] = set()

    @rule(source_id=SOURCES, step_s=STEPS_S, found=faces(), analysed=st.sampled_from([True, True, True, False]))
    def see(self, source_id: str, step_s: float, found: tuple[Face, ...], analysed: bool) -> None:
        self.now_s[source_id] += step_s
        self.frames += 1
        frame = frame_at(self.frames, source_id=source_id, time_s=self.now_s[source_id])
        if self.has_clock:
            frame = replace(frame, wall_time=WALL + timedelta(seconds=self.now_s[source_id]))
        output: Output = output_with(frame, found, analysed)
        for sink in self.sinks:
            sink.write(output)

    @rule(
        source_id=SOURCES,
        spells=st.lists(st.tuples(st.sampled_from(Label), st.sampled_from([0.1, 0.1, 0.0, -0.1])), min_size=1, max_size=3),
    )
    def stay(self, source_id: str, spells: list[tuple[Label, float]]) -> None:
        """One person stays, which gives events, while the clock continues, stops or runs back."""
        for label, step_s in spells:
            for _ in range(12):
                self.see(source_id, step_s, (person(1, label),), analysed=True)

    @rule(source_id=SOURCES)
    def come_to_the_end(self, source_id: str) -> None:
        for sink in self.sinks:
            sink.source_ended(source_id)

    @rule(source_id=SOURCES)
    def remove(self, source_id: str) -> None:
        for sink in self.sinks:
            sink.source_removed(source_id)

    @rule(source_id=SOURCES, state=st.sampled_from(SourceState))
    def change(self, source_id: str, state: SourceState) -> None:
        for sink in self.sinks:
            sink.state_changed(StateChange(source_id, state, None, "test", 0.0, WALL))

    @rule(source_id=SOURCES, rules=RULES)
    def set_settings(self, source_id: str, rules: int) -> None:
        self.settings.set(source_id, CONFIGS[rules])

    @invariant()
    def both_receivers_get_the_same_consistent_records(self) -> None:
        first, second = self.receivers
        assert [id(each) for each in first.taken] == [id(each) for each in second.taken]
        for item in first.taken[self.checked :]:
            json.dumps(event_record(item), allow_nan=False)
            if isinstance(item, MaskEvent):
                self._check_event(item)
            else:
                self._check_counts(item)
        self.checked = len(first.taken)

    def _check_event(self, event: MaskEvent) -> None:
        who = (event.source_id, event.person)
        assert event.label is not Label.UNKNOWN
        assert event.duration_s >= 0
        assert (event.cause is not None) == (event.phase is Phase.END)
        if event.phase is Phase.START:
            assert who not in self.open
            assert event.event_id not in self.ids
            assert event.sequence == 0
            self.ids.add(event.event_id)
        else:
            before = self.open.pop(who)
            assert (event.event_id, event.label, event.began) == (before.event_id, before.label, before.began)
            assert event.sequence == before.sequence + 1
        if event.phase is not Phase.END:
            self.open[who] = event

    @staticmethod
    def _check_counts(counts: MinuteCounts) -> None:
        assert all(number >= 0 for number in counts.people.values())
        assert all(seconds >= 0 for seconds in counts.person_s.values())
        assert sum(counts.people.values()) <= 4

    def teardown(self) -> None:
        """Each event that has begun has ended after `close`."""
        for sink in self.sinks:
            sink.close()
        self.both_receivers_get_the_same_consistent_records()
        assert self.open == {}


TestDetector = DetectorMachine.TestCase
