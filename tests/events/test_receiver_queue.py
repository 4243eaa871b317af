"""Messages while the disk accepts nothing. A read-only database replaces a full disk."""

from pathlib import Path

import pytest

from maskstream.events.messages import QueuedMessage
from maskstream.events.outbox import Outbox
from maskstream.events.receiver_queue import ReceiverQueue
from tests.events.test_outbox import message


def set_disk(outbox: Outbox, is_writable: bool) -> None:
    outbox._database.execute(f"PRAGMA query_only = {'OFF' if is_writable else 'ON'}")


def keys(queue: ReceiverQueue) -> list[str]:
    """Deliver all messages, and return their keys."""
    taken = []
    while (waiting := queue.oldest()) is not None:
        taken.append(waiting.message.key)
        queue.delivered(waiting)
    return taken


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(str(tmp_path / "events.db"), 100)


def test_messages_are_delivered_once_while_the_disk_accepts_nothing(outbox: Outbox) -> None:
    queue = ReceiverQueue(outbox, "a")
    queue.add([message(1), message(2)])
    set_disk(outbox, is_writable=False)
    queue.add([message(3)])
    assert (queue.waiting_count(), "cannot be written" in str(queue.disk_error)) == (3, True)
    assert keys(queue) == ["e-1", "e-2", "e-3"]
    assert queue.waiting_count() == 0
    set_disk(outbox, is_writable=True)
    queue.save()
    assert queue.disk_error is None
    assert keys(ReceiverQueue(outbox, "a")) == []


def test_messages_in_memory_are_written_in_order_when_the_disk_has_room(outbox: Outbox) -> None:
    queue = ReceiverQueue(outbox, "a")
    queue.add([message(1)])
    set_disk(outbox, is_writable=False)
    queue.add([message(2), message(3)])
    set_disk(outbox, is_writable=True)
    queue.add([message(4)])
    assert keys(ReceiverQueue(outbox, "a")) == ["e-1", "e-2", "e-3", "e-4"]


def test_a_message_that_is_written_to_disk_during_its_delivery_is_removed(outbox: Outbox) -> None:
    queue = ReceiverQueue(outbox, "a")
    set_disk(outbox, is_writable=False)
    queue.add([message(1)])
    waiting = queue.oldest()
    assert waiting is not None
    set_disk(outbox, is_writable=True)
    queue.add([message(2)])
    queue.delivered(waiting)
    assert keys(queue) == ["e-2"]


def test_events_delivered_from_memory_are_open_or_ended_on_disk(outbox: Outbox) -> None:
    queue = ReceiverQueue(outbox, "a")
    queue.add([message(1, event="x", is_open=True)])
    set_disk(outbox, is_writable=False)
    queue.add([message(2, event="x"), message(3, event="y", is_open=True)])
    assert keys(queue) == ["e-1", "e-2", "e-3"]
    set_disk(outbox, is_writable=True)
    queue.save()
    assert [each.event for each in outbox.open_events("a")] == ["y"]


def test_memory_is_limited_and_lost_messages_are_counted(outbox: Outbox) -> None:
    queue = ReceiverQueue(outbox, "a")
    set_disk(outbox, is_writable=False)
    for number in range(15):
        queue.add([message(number)])
    assert (queue.waiting_count(), queue.newly_lost(), queue.lost_count()) == (10, 5, 5)
    queue.lost_reported(3)
    set_disk(outbox, is_writable=True)
    queue.save()
    assert (queue.lost_count(), outbox.lost_count("a")) == (2, 2)


def test_close_returns_the_messages_on_disk_and_in_memory(outbox: Outbox) -> None:
    queue = ReceiverQueue(outbox, "a")
    queue.add([message(1)])
    set_disk(outbox, is_writable=False)
    queue.add([message(2), message(3)])
    waiting = queue.oldest()
    assert waiting is not None
    assert queue.close() == (1, 2)
    queue.delivered(waiting)  # by a thread that is late: the next run delivers it again
    assert outbox.waiting_count("a") == 1


def test_a_refused_channel_does_not_delay_others(outbox: Outbox) -> None:
    queue = ReceiverQueue(outbox, "a")
    lab, counts = QueuedMessage("lab", "e-9", b"9"), QueuedMessage("door", "counts-1", b"c")
    queue.add([message(1), counts, lab])
    found = queue.oldest({("door", "events"), ("door", "counts")})
    assert found is not None
    assert found.message.key == "e-9"
    found = queue.oldest({("door", "events")})
    assert found is not None
    assert found.message.key == "counts-1"
    set_disk(outbox, is_writable=False)
    queue.add([message(2), QueuedMessage("lab", "e-10", b"10")])
    queue.delivered(queue.oldest({("door", "events"), ("door", "counts")}))  # type: ignore[arg-type]
    found = queue.oldest({("door", "events"), ("door", "counts")})
    assert found is not None
    assert found.message.key == "e-10"
