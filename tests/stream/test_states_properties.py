"""Whatever is tried with states, in whatever order, what is told of them makes sense."""

from collections.abc import Collection

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from maskstream.errors import SinkError
from maskstream.stream.source_states import SourceStates
from maskstream.stream.states import LEGAL, SourceState, SourceStatus, StateChange

NAMES = st.sampled_from(["door", "lab"])
STATES = st.sampled_from(SourceState)


class Listener:
    """Remembers what it is told, where it does not fail."""

    def __init__(self) -> None:
        self.told: list[StateChange] = []
        self.fails = False

    def state_changed(self, change: StateChange) -> None:
        if self.fails:
            raise SinkError("disk full")
        self.told.append(change)

    def source_removed(self, source_id: str) -> None:
        """Nothing to remember."""


class StatusMachine(RuleBasedStateMachine):
    """Changes states of two sources, ends them, and has listeners told."""

    @initialize()
    def begin(self) -> None:
        self.states = SourceStates()
        self.listeners = [Listener(), Listener(), Listener()]
        self.statuses: dict[str, SourceStatus] = {}
        self.expected: dict[str, SourceState] = {}
        self.waiting: list[tuple[str, SourceState]] = []
        """What has happened, and nobody was told."""
        self.happened: list[list[tuple[str, SourceState]]] = [[], [], []]
        """What each listener should have been told."""

    @rule(name=NAMES, quiet=st.booleans())
    def look_at(self, name: str, quiet: bool) -> None:
        status = self.states.status(name, quiet=quiet)
        if name not in self.statuses:
            self.statuses[name], self.expected[name] = status, SourceState.CONNECTING
            self.waiting.append((name, SourceState.CONNECTING))
        assert status is self.statuses[name]

    @rule(name=NAMES, state=STATES, only_from=st.none() | st.frozensets(STATES))
    def change(self, name: str, state: SourceState, only_from: Collection[SourceState] | None) -> None:
        if name not in self.statuses:
            return
        before, status = self.expected[name], self.statuses[name]
        arguments = () if only_from is None else (only_from,)
        if state is before or (only_from is not None and before not in only_from):
            assert not status.change(state, "nothing new", *arguments)
        elif state not in LEGAL[before]:
            with pytest.raises(ValueError, match="may not follow"):
                status.change(state, "a mistake", *arguments)
        else:
            assert status.change(state, f"{name}: a cause", *arguments)
            assert status.last.cause == "a cause"
            self.expected[name] = state
            self.waiting.append((name, state))

    @rule(name=NAMES)
    def end(self, name: str) -> None:
        self.states.end(name, "removed")
        self.statuses.pop(name, None)
        if self.expected.pop(name, SourceState.ENDED) is not SourceState.ENDED:
            self.waiting.append((name, SourceState.ENDED))

    @rule(broken=st.none() | st.sampled_from([0, 1]))
    def deliver(self, broken: int | None) -> None:
        for index, listener in enumerate(self.listeners):
            listener.fails = index == broken
        failed = self.states.deliver(self.listeners)
        does_fail = broken is not None and bool(self.waiting)
        assert [listener for listener, _ in failed] == ([self.listeners[broken]] if does_fail and broken is not None else [])
        for index, happened in enumerate(self.happened):
            happened += [] if index == broken else self.waiting
        self.waiting = []
        assert [[(each.source_id, each.state) for each in listener.told] for listener in self.listeners] == self.happened

    @invariant()
    def states_are_those_that_were_set(self) -> None:
        assert {name: status.last.state for name, status in self.statuses.items()} == self.expected

    def teardown(self) -> None:
        """What a listener was told that never failed is, for each source, a chain of legal steps."""
        self.deliver(broken=None)
        last: dict[str, StateChange] = {}
        for change in self.listeners[-1].told:
            if change.before is None:
                assert change.state is SourceState.CONNECTING
            else:
                before = last[change.source_id]
                assert change.before is before.state
                assert change.state in LEGAL[before.state]
                assert change.before_s == pytest.approx(change.at_s - before.at_s)
            assert change.before_s >= 0
            last[change.source_id] = change


TestStatuses = StatusMachine.TestCase
