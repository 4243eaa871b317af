import threading
import time
from collections.abc import Callable

import pytest

from maskstream.stream.batcher import Batcher
from maskstream.stream.channel import Channel, Overflow
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
