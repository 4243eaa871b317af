import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from maskstream.stream.batcher import Batcher
from maskstream.stream.channel import Channel, Overflow
from tests.clocks import ManualClock
from tests.slowness import LONGEST_S, promised


def in_thread(act: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(act()), daemon=True)
    thread.start()
    return thread, answers


def test_items_come_out_in_order() -> None:
    channel: Channel[int] = Channel(3, Overflow.WAIT)
    assert [channel.put(item) for item in (1, 2, 3)] == [True] * 3
    assert [channel.get(0), channel.poll(), channel.get(0), channel.poll()] == [1, 2, 3, None]


def test_a_full_channel_of_a_file_makes_the_writer_wait() -> None:
    channel: Channel[int] = Channel(1, Overflow.WAIT)
    channel.put(1)
    writer, answers = in_thread(lambda: channel.put(2))
    writer.join(0.05)
    assert writer.is_alive()
    assert channel.get(LONGEST_S) == 1
    writer.join(LONGEST_S)
    assert answers == [True]
    assert (channel.get(0), channel.dropped) == (2, 0)


def test_a_full_channel_of_a_camera_keeps_the_newest_and_counts() -> None:
    channel: Channel[int] = Channel(1, Overflow.DROP_OLDEST)
    assert all(channel.put(item) for item in range(5))
    assert (channel.get(0), channel.dropped) == (4, 4)


def test_a_reader_waits_and_gives_up_in_time() -> None:
    channel: Channel[int] = Channel(1, Overflow.WAIT)
    with promised(2):
        started_s = time.monotonic()
        assert channel.get(0.05) is None
    assert time.monotonic() - started_s > 0.04
    assert not channel.exhausted


def test_what_is_in_a_finished_channel_can_still_be_read() -> None:
    channel: Channel[int] = Channel(2, Overflow.WAIT)
    channel.put(1)
    channel.finish()
    assert not channel.exhausted
    assert channel.get(0) == 1
    assert channel.exhausted
    with promised(2):
        assert channel.get(LONGEST_S) is None


@pytest.mark.parametrize("overflow", list(Overflow))
def test_close_releases_everybody_and_drops_what_is_there(overflow: Overflow) -> None:
    channel: Channel[int] = Channel(1, overflow)
    channel.put(1)
    writer, answers = in_thread(lambda: channel.put(2) and channel.put(3))
    time.sleep(0.02)
    channel.close()
    channel.close()
    writer.join(LONGEST_S)
    assert not writer.is_alive()
    assert answers in ([False], [True])
    assert channel.put(4) is False
    assert channel.poll() is None
    assert channel.exhausted


def kept(batcher: Batcher[str], count: int = 2) -> list[Channel[str]]:
    """Return channels of a batcher that lose nothing."""
    channels = [batcher.channel() for _ in range(count)]
    for channel in channels:
        channel.keep(4)
    return channels


def test_a_channel_may_turn_out_to_lose_nothing() -> None:
    channel: Channel[int] = Channel(1, Overflow.DROP_OLDEST)
    channel.keep(3)
    assert [channel.put(item) for item in range(3)] == [True] * 3
    assert (len(channel), channel.dropped) == (3, 0)


def test_batches_take_turns_between_sources() -> None:
    batcher: Batcher[str] = Batcher(3)
    first, second = kept(batcher)
    for item in ("a1", "a2", "a3"):
        first.put(item)
    second.put("b1")
    assert sorted(batcher.next_batch()) == ["a1", "a2", "b1"]
    assert batcher.next_batch() == ["a3"]


def test_a_batch_waits_for_its_first_item_alone() -> None:
    batcher: Batcher[str] = Batcher(4)
    (channel,) = kept(batcher, 1)
    reader, answers = in_thread(batcher.next_batch)
    time.sleep(0.02)
    channel.put("a1")
    reader.join(LONGEST_S)
    assert answers == [["a1"]]


def test_exhausted_channels_give_an_empty_batch() -> None:
    batcher: Batcher[str] = Batcher(4)
    first, second = kept(batcher)
    reader, answers = in_thread(batcher.next_batch)
    first.finish()
    reader.join(0.05)
    assert reader.is_alive()
    second.close()
    reader.join(LONGEST_S)
    assert answers == [[]]


def test_channels_come_and_go_while_a_batch_is_awaited() -> None:
    batcher: Batcher[str] = Batcher(4)
    (only,) = kept(batcher, 1)
    reader, answers = in_thread(batcher.next_batch)
    batcher.discard(only)
    only.put("nobody reads this")
    reader.join(0.05)
    assert reader.is_alive()
    batcher.channel().put("b1")
    reader.join(LONGEST_S)
    assert answers == [["b1"]]


def test_a_batcher_that_expects_another_channel_waits_for_it() -> None:
    batcher: Batcher[int] = Batcher(4)
    batcher.channel().finish()
    batcher.expect(True)

    def come() -> None:
        channel = batcher.channel()
        batcher.expect(False)
        channel.put(7)
        channel.finish()

    timer = threading.Timer(0.05, come)
    timer.start()
    assert batcher.next_batch() == [7]
    assert batcher.next_batch() == []
    timer.join()


def test_a_batcher_that_is_closed_waits_for_no_channel() -> None:
    batcher: Batcher[int] = Batcher(4)
    batcher.expect(True)
    batcher.close()
    assert batcher.next_batch() == []


class TestQuietChannels:
    """A camera on which the detector rests leaves the time of the models to the others."""

    def test_they_leave_their_turn_to_others_for_a_moment(self) -> None:
        clock = ManualClock()
        batcher: Batcher[str] = Batcher(4, clock)
        busy, quiet, other = kept(batcher, 3)
        batcher.set_quiet(quiet, True)
        for channel, name in ((busy, "busy"), (quiet, "quiet"), (other, "other")):
            channel.put(f"{name} 1")
            channel.put(f"{name} 2")
        batcher.batch_size = 2
        assert sorted(batcher.next_batch()) == ["busy 1", "other 1"]
        clock.advance(0.11)
        batcher.batch_size = 3
        assert sorted(batcher.next_batch()) == ["busy 2", "other 2", "quiet 1"]

    def test_they_have_their_turn_where_no_other_has_an_item(self) -> None:
        batcher: Batcher[str] = Batcher(4, ManualClock())
        first, second, empty = kept(batcher, 3)
        for channel in (first, second):
            batcher.set_quiet(channel, True)
            channel.put("item")
        assert batcher.next_batch() == ["item", "item"]
        assert len(empty) == 0

    def test_a_channel_that_is_no_longer_quiet_has_its_turns(self) -> None:
        batcher: Batcher[str] = Batcher(4, ManualClock())
        busy, quiet = kept(batcher)
        busy.put("busy")
        quiet.put("quiet")
        batcher.set_quiet(quiet, True)
        batcher.set_quiet(quiet, False)
        assert sorted(batcher.next_batch()) == ["busy", "quiet"]

    def test_a_channel_that_was_removed_is_not_kept(self) -> None:
        batcher: Batcher[str] = Batcher(4, ManualClock())
        busy, quiet = kept(batcher)
        batcher.set_quiet(quiet, True)
        batcher.discard(quiet)
        batcher.set_quiet(quiet, True)
        busy.put("busy")
        assert batcher.next_batch() == ["busy"]
        assert batcher.quiet == set()

    def test_each_has_a_turn_in_a_tenth_of_a_second_however_busy_others_are(self) -> None:
        clock = ManualClock()
        batcher: Batcher[str] = Batcher(4, clock)
        channels = kept(batcher, 16)
        for channel in channels[4:]:
            batcher.set_quiet(channel, True)
        taken: Counter[str] = Counter()
        for _ in range(300):
            clock.advance(0.02)  # for four items
            for number, channel in enumerate(channels):
                if not len(channel):
                    channel.put(f"{'busy' if number < 4 else 'quiet'} {number}")
            batch = batcher.next_batch()
            taken.update(batch)
            for item in batch:
                if item.startswith("quiet"):
                    batcher.set_quiet(channels[int(item.split()[1])], True)
        busy = [count for item, count in taken.items() if item.startswith("busy")]
        quiet = [count for item, count in taken.items() if item.startswith("quiet")]
        assert len(busy) + len(quiet) == 16
        assert min(quiet) >= 40  # in 6 s
        assert min(busy) > 1.5 * max(quiet)
