"""Whatever is done to channels and a batcher, in whatever order, they behave as the lists that they are said to be."""

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from maskstream.stream.batcher import Batcher
from maskstream.stream.channel import Channel, Overflow
from tests.clocks import ManualClock
from tests.properties import examples

PATIENCE_S = 60.0
"""How long a thread may take that nothing holds back, on the busiest machine."""


@dataclass(eq=False)
class Model:
    """A channel, and what should be in it."""

    channel: Channel[str]
    capacity: int
    overflow: Overflow
    name: str
    items: deque[str] = field(default_factory=deque)
    dropped: int = 0
    put: int = 0
    finished: bool = False
    closed: bool = False

    @property
    def would_wait(self) -> bool:
        """Whether the writer would have to wait for a reader."""
        return self.overflow is Overflow.WAIT and not self.closed and len(self.items) >= self.capacity

    def next_item(self) -> str:
        self.put += 1
        return f"{self.name} {self.put}"

    def put_next(self) -> None:
        item = self.next_item()
        assert self.channel.put(item) is not self.closed
        if self.closed:
            return
        if self.overflow is Overflow.DROP_OLDEST and len(self.items) >= self.capacity:
            self.items.popleft()
            self.dropped += 1
        self.items.append(item)

    def finish(self, with_last: bool) -> None:
        last = self.next_item() if with_last else None
        self.channel.finish(last)
        if last is not None and not self.closed:
            self.items.append(last)
        self.finished = True

    def close(self) -> None:
        self.channel.close()
        self.items.clear()
        self.finished = self.closed = True

    def check(self) -> None:
        assert len(self.channel) == len(self.items)
        assert self.channel.dropped == self.dropped
        assert self.channel.exhausted is (self.finished and not self.items)


class ChannelMachine(RuleBasedStateMachine):
    """Writes and reads one channel in turn, and never what would have to wait for the other side."""

    @initialize(capacity=st.integers(1, 3), overflow=st.sampled_from(Overflow))
    def begin(self, capacity: int, overflow: Overflow) -> None:
        self.model = Model(Channel(capacity, overflow), capacity, overflow, "a")

    @precondition(lambda self: not self.model.would_wait and (not self.model.finished or self.model.closed))
    @rule()
    def put(self) -> None:
        self.model.put_next()

    @rule(waits=st.booleans())
    def take(self, waits: bool) -> None:
        expected = self.model.items.popleft() if self.model.items else None
        taken = self.model.channel.get(0) if waits else self.model.channel.poll()
        assert taken == expected

    @precondition(lambda self: bool(self.model.items) or self.model.finished)
    @rule()
    def take_at_once(self) -> None:
        """What is there, or will never come, is not waited for."""
        expected = self.model.items.popleft() if self.model.items else None
        assert self.model.channel.get(PATIENCE_S) == expected

    @rule(capacity=st.integers(1, 4))
    def keep(self, capacity: int) -> None:
        self.model.channel.keep(capacity)
        self.model.capacity, self.model.overflow = capacity, Overflow.WAIT

    @precondition(lambda self: not self.model.finished or self.model.closed)
    @rule(with_last=st.booleans())
    def finish(self, with_last: bool) -> None:
        self.model.finish(with_last)

    @rule()
    def close(self) -> None:
        self.model.close()

    @invariant()
    def it_is_as_it_should_be(self) -> None:
        self.model.check()


class BatcherMachine(RuleBasedStateMachine):
    """Lets channels come and go, and takes batches where there is something to take."""

    channels = Bundle("channels")

    @initialize(batch_size=st.integers(1, 4))
    def begin(self, batch_size: int) -> None:
        self.clock = ManualClock()
        self.batcher: Batcher[str] = Batcher(batch_size, self.clock)
        self.quiet: dict[str, float] = {}
        """The time from which each quiet channel has its turn again."""
        self.models: list[Model] = []
        self.came = 0
        self.closed = False
        self.turns: dict[str, Counter[str]] = {}
        """Of each channel with items: how many of others were taken since it waits."""

    @rule(target=channels, capacity=st.none() | st.integers(1, 4))
    def come(self, capacity: int | None) -> Model:
        self.came += 1
        model = Model(self.batcher.channel(), 1, Overflow.DROP_OLDEST, f"source {self.came}")
        if capacity is not None:
            model.channel.keep(capacity)
            model.capacity, model.overflow = capacity, Overflow.WAIT
        self.models.append(model)
        return model

    @rule(model=consumes(channels))
    def go(self, model: Model) -> None:
        self.batcher.discard(model.channel)
        self.models.remove(model)

    @rule(target=channels, model=consumes(channels), count=st.integers(1, 4))
    def put(self, model: Model, count: int) -> Model:
        for _ in range(count):
            if not model.would_wait and not (model.finished and not model.closed):
                model.put_next()
        return model

    @rule(model=channels, how=st.sampled_from(["finish", "finish with a last item", "close"]))
    def end(self, model: Model, how: str) -> None:
        if how == "close":
            model.close()
        elif not model.finished:
            model.finish(with_last=how != "finish")

    @rule(batch_size=st.integers(1, 4))
    def resize(self, batch_size: int) -> None:
        self.batcher.batch_size = batch_size

    @rule(model=channels, is_quiet=st.booleans())
    def rest(self, model: Model, is_quiet: bool) -> None:
        self.batcher.set_quiet(model.channel, is_quiet)
        self.quiet.pop(model.name, None)
        if is_quiet:
            self.quiet[model.name] = self.clock.now_s() + 0.1

    @rule(seconds=st.sampled_from([0.03, 0.2]))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: any(model.items for model in self.models))
    @rule()
    def take(self) -> None:
        with_items = [model for model in self.models if model.items]
        now_s = self.clock.now_s()
        served = [model for model in with_items if self.quiet.get(model.name, 0.0) <= now_s] or with_items
        waiting = sum(len(model.items) for model in served)
        had = {model.name for model in served}
        batch = self.batcher.next_batch()
        assert len(batch) == min(waiting, self.batcher.batch_size)
        names = [item.rpartition(" ")[0] for item in batch]
        for model in self.models:
            own = [item for item, name in zip(batch, names, strict=True) if name == model.name]
            assert own == [model.items.popleft() for _ in own]
        assert set(names) == had or len(set(names)) == len(names) < len(had)
        for name in had - set(names):
            self.turns.setdefault(name, Counter()).update(names)
            assert max(self.turns[name].values()) == 1  # nobody is served twice while another waits
        left_out = {model.name for model in with_items} - had
        self.turns = {name: turns for name, turns in self.turns.items() if name in had - set(names) - left_out}

    @rule()
    def close(self) -> None:
        self.batcher.close()
        self.closed = True

    @precondition(lambda self: (self.closed or bool(self.models)) and all(model.channel.exhausted for model in self.models))
    @rule()
    def over(self) -> None:
        assert self.batcher.next_batch() == []

    @invariant()
    def channels_are_as_they_should_be(self) -> None:
        for model in self.models:
            model.check()


TestChannel = ChannelMachine.TestCase
TestBatcher = BatcherMachine.TestCase


def write_all(channel: Channel[tuple[int, int]], writer: int, count: int) -> None:
    for number in range(count):
        channel.put((writer, number))
    channel.finish((writer, count))


@examples(0.5)
@given(
    counts=st.lists(st.integers(0, 30), min_size=1, max_size=4),
    capacities=st.lists(st.none() | st.integers(1, 5), min_size=4, max_size=4),
    batch_size=st.integers(1, 6),
)
def test_between_threads_nothing_is_lost_but_what_is_counted(
    counts: list[int], capacities: list[int | None], batch_size: int
) -> None:
    batcher: Batcher[tuple[int, int]] = Batcher(batch_size)
    channels = [batcher.channel() for _ in counts]
    for channel, capacity in zip(channels, capacities, strict=False):
        if capacity is not None:
            channel.keep(capacity)
    threads = [
        threading.Thread(target=write_all, args=(channel, writer, count), daemon=True)
        for writer, (channel, count) in enumerate(zip(channels, counts, strict=True))
    ]
    for thread in threads:
        thread.start()
    taken: list[tuple[int, int]] = []
    while batch := batcher.next_batch():
        assert len(batch) <= batch_size
        taken += batch
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    for writer, (count, channel, capacity) in enumerate(zip(counts, channels, capacities, strict=False)):
        own = [number for each, number in taken if each == writer]
        assert own == sorted(set(own))
        assert own[-1:] == [count]
        assert len(own) + channel.dropped == count + 1
        assert capacity is None or channel.dropped == 0


@examples(0.3)
@given(capacity=st.integers(1, 3), count=st.integers(1, 10), taken=st.integers(0, 10))
def test_whoever_waits_for_a_channel_that_is_abandoned_is_released(capacity: int, count: int, taken: int) -> None:
    channel: Channel[int] = Channel(capacity, Overflow.WAIT)
    answers: list[bool] = []
    writer = threading.Thread(target=lambda: answers.extend(channel.put(number) for number in range(count)), daemon=True)
    writer.start()
    got = [channel.get(PATIENCE_S) for _ in range(min(taken, count))]
    channel.close()
    writer.join(PATIENCE_S)
    assert not writer.is_alive()
    assert got == list(range(len(got)))
    assert answers == sorted(answers, reverse=True)
    assert len(answers) == count
    assert len(got) <= sum(answers) <= len(got) + capacity
    assert channel.exhausted


@examples(0.5)
@given(
    count=st.integers(0, 20),
    capacity=st.integers(1, 8),
    batch_size=st.integers(1, 6),
    pauses=st.sets(st.integers(0, 20), max_size=4),
)
def test_full_batches_of_one_source_do_not_depend_on_its_writer(
    count: int, capacity: int, batch_size: int, pauses: set[int]
) -> None:
    batcher: Batcher[tuple[int, int]] = Batcher(batch_size)
    batcher.waits_until_full = True
    channel = batcher.channel()
    channel.keep(capacity)

    def write() -> None:
        for number in range(count):
            if number in pauses:
                time.sleep(0.002)
            channel.put((0, number))
        channel.finish((0, count))

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    batches: list[list[int]] = []
    while batch := batcher.next_batch():
        batches.append([number for _, number in batch if number < count])
    writer.join(PATIENCE_S)
    size = min(batch_size, capacity)
    assert list(filter(None, batches)) == [list(range(count))[start : start + size] for start in range(0, count, size)]
