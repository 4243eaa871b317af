"""Records reach real receivers through failures of receiver, disk and program."""

import hmac
import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from maskstream.clock import MONOTONIC, Clock
from maskstream.errors import ConfigError
from maskstream.events.delivery import Delivery, NotDelivered
from maskstream.events.messages import QueuedMessage
from maskstream.events.outbox import Outbox
from maskstream.events.types import MaskEvent, MinuteCounts, Observation, Phase, Timestamp
from maskstream.events.webhook import Webhook
from maskstream.types import Label
from tests.clocks import HastyClock, WaitingClock
from tests.conftest import ROOT
from tests.events.test_receiver_queue import set_disk
from tests.ports import free_port
from tests.receivers import wait_until, web_receiver
from tests.slowness import promised

NOW = Timestamp(10, 0.4, None)


def event(number: int, phase: Phase = Phase.START, sequence: int = 0, source_id: str = "door") -> MaskEvent:
    best = Observation(NOW, 0.97, np.array([1, 2, 30, 40], np.float32), b"\xff\xd8jpeg")
    cause = "mask" if phase is Phase.END else None
    return MaskEvent(
        event_id=f"e{number}",
        sequence=sequence,
        phase=phase,
        label=Label.NO_MASK,
        source_id=source_id,
        person=number,
        zone=None,
        began=NOW,
        last=NOW,
        confidence=0.99,
        best=best,
        cause=cause,
    )


@contextmanager
def delivery(
    folder: Path, url: str, secret: str | None = None, limit: int = 1_000_000, clock: Clock = MONOTONIC
) -> Iterator[Delivery]:
    outbox = Outbox(str(folder / "events.db"), limit)
    made = Delivery(Webhook(url, secret), outbox, clock)
    try:
        yield made
    finally:
        made.close()


def keys(records: list[dict]) -> list[str]:
    return [f"{record['event_id']}-{record['sequence']}" for record in records if record["type"] == "event"]


def test_records_arrive_in_order_as_json(tmp_path: Path) -> None:
    with web_receiver() as posts, delivery(tmp_path, posts.url) as sent:
        sent.take([event(1), MinuteCounts("door", NOW, NOW, dict.fromkeys(Label, 1), dict.fromkeys(Label, 2.0))])
        sent.take([event(1, Phase.END, 1)])
        wait_until(lambda: len(posts.bodies) == 3)
    assert [record["type"] for record in posts.records] == ["event", "counts", "event"]
    assert posts.records[0]["best"]["crop_jpeg"] == "/9hqcGVn"
    first, counts, last = (each["X-Maskstream-Key"] for each in posts.headers)
    assert (first, counts[:7], last) == ("e1-0", "counts-", "e1-1")
    assert {each["Content-Type"] for each in posts.headers} == {"application/json"}
    assert "X-Maskstream-Signature" not in posts.headers[0]


def test_a_secret_signs_what_is_posted(tmp_path: Path) -> None:
    with web_receiver() as posts, delivery(tmp_path, posts.url, "s3cret") as sent:
        sent.take([event(1)])
        wait_until(lambda: len(posts.bodies) == 1)
    signature = hmac.new(b"s3cret", posts.bodies[0], sha256).hexdigest()
    assert posts.headers[0]["X-Maskstream-Signature"] == f"sha256={signature}"


def test_a_record_that_is_refused_temporarily_is_posted_again(tmp_path: Path, said: list[str]) -> None:
    with web_receiver() as posts, delivery(tmp_path, posts.url, clock=HastyClock(20)) as sent:
        posts.answers += [503, 302, 429]
        sent.take([event(1), event(2)])
        wait_until(lambda: len(posts.bodies) == 2)
    assert keys(posts.records) == ["e1-0", "e2-0"]
    assert posts.refused == 3
    assert sum("not delivered: it answers 503" in line for line in said) == 1
    assert any("delivering again" in line for line in said)
    assert not any("secret-path" in line for line in said)


def test_a_record_that_is_refused_finally_is_discarded_and_logged(tmp_path: Path, said: list[str]) -> None:
    with web_receiver() as posts, delivery(tmp_path, posts.url) as sent:
        posts.answers += [422]
        sent.take([event(1), event(2)])
        wait_until(lambda: len(posts.bodies) == 1)
    assert keys(posts.records) == ["e2-0"]
    assert any("record e1-0 is discarded: it answers 422" in line for line in said)


def test_a_receiver_that_was_down_gets_all_records(tmp_path: Path) -> None:
    """For 30 s it is down in `tests/end_to_end/test_people.py`."""
    port, clock = free_port(), WaitingClock(20)
    with delivery(tmp_path, f"http://127.0.0.1:{port}/hook", clock=clock) as sent:
        for number in range(50):
            sent.take([event(number)])
            wait_until(lambda number=number: len(clock.waits_s) > number // 12)
        number += 1
        with web_receiver(port) as posts:
            sent.take([event(number)])
            wait_until(lambda: len(posts.bodies) > number)
    assert keys(posts.records) == [f"e{each}-0" for each in range(number + 1)]
    assert clock.waits_s[:5] == [pytest.approx(2**attempt, rel=0.2) for attempt in range(5)]


def test_a_slow_receiver_does_not_slow_the_stream(tmp_path: Path) -> None:
    with web_receiver() as posts:
        posts.delay_s = 2.0
        with delivery(tmp_path, posts.url) as sent, promised(5):
            for number in range(50):
                sent.take([event(number)])
            sent.close()
        posts.delay_s = 0
        with delivery(tmp_path, posts.url):
            wait_until(lambda: {f"e{number}-0" for number in range(50)} <= set(keys(posts.records)))


def test_records_of_an_earlier_run_are_delivered_and_its_events_end(tmp_path: Path, said: list[str]) -> None:
    port = free_port()
    with delivery(tmp_path, f"http://127.0.0.1:{port}/hook/secret-path") as sent:
        sent.take([event(1), event(2), event(2, Phase.END, 1), event(3, Phase.START), event(3, Phase.UPDATE, 1)])
    assert any("5 records wait in" in line for line in said)
    with web_receiver(port) as posts, delivery(tmp_path, posts.url):
        wait_until(lambda: len(posts.bodies) == 7)
    assert keys(posts.records) == ["e1-0", "e2-0", "e2-1", "e3-0", "e3-1", "e1-1", "e3-2"]
    ends = [record for record in posts.records if record["cause"] == "interrupted"]
    assert [(end["event_id"], end["phase"], end["ended_s"]) for end in ends] == [("e1", "end", 0.4), ("e3", "end", 0.4)]
    with web_receiver(port) as later, delivery(tmp_path, later.url) as sent:
        sent.take([event(9)])
        wait_until(lambda: len(later.bodies) == 1)
    assert keys(later.records) == ["e9-0"]


def test_a_full_queue_drops_the_oldest_and_reports_it(tmp_path: Path, said: list[str]) -> None:
    port = free_port()
    size = len(json.dumps({"x": 1}))
    assert size < 100
    with delivery(tmp_path, f"http://127.0.0.1:{port}/", limit=5000, clock=HastyClock(20)) as sent:
        for number in range(30):
            sent.take([event(number)])
        assert any("the queue is full, the 1 oldest records were lost" in line for line in said)
        with web_receiver(port) as posts:
            wait_until(lambda: "e29-0" in keys(posts.records))
    kinds = [record["type"] for record in posts.records]
    assert kinds == sorted(kinds, reverse=True)  # lost records are reported before the remaining ones
    lost = sum(record["records"] for record in posts.records if record["type"] == "lost")
    assert keys(posts.records) == [f"e{number}-0" for number in range(lost, 30)]
    assert 0 < lost < 30


@pytest.mark.parametrize("url", ["ftp://host/x", "host/path", "http://", "", "mqtt://host"])
def test_an_invalid_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"events\.webhooks"):
        Webhook(url, None)


class FailingWebhook(Webhook):
    """Raises an unexpected error three times."""

    failures = 3

    def send(self, message: QueuedMessage) -> None:
        if self.failures:
            self.failures -= 1
            raise ZeroDivisionError("https://host/secret-path")
        super().send(message)


def test_an_unexpected_error_is_logged_and_delivery_continues(tmp_path: Path, said: list[str]) -> None:
    with web_receiver() as posts:
        outbox = Outbox(str(tmp_path / "events.db"), 1_000_000)
        sent = Delivery(FailingWebhook(posts.url, None), outbox, HastyClock(20))
        sent.take([event(1), event(2)])
        wait_until(lambda: len(posts.bodies) == 2)
        sent.close()
    assert keys(posts.records) == ["e1-0", "e2-0"]
    lines = [line for line in said if "internal error, ZeroDivisionError in" in line]
    assert len(lines) == 1
    assert "test_delivery.py:" in lines[0]
    assert not any("secret-path" in line for line in said)


def test_delivery_continues_while_the_disk_accepts_nothing(tmp_path: Path, said: list[str]) -> None:
    port = free_port()
    outbox = Outbox(str(tmp_path / "events.db"), 1_000_000)
    sent = Delivery(Webhook(f"http://127.0.0.1:{port}/hook/secret-path", None), outbox, HastyClock(20))
    sent.take([event(1)])
    set_disk(outbox, is_writable=False)
    sent.take([event(2)])
    assert "webhook at 127.0.0.1: 2 events wait: " in sent.health()
    assert "the queue of events cannot be written: attempt to write a readonly database; make room" in sent.health()
    with web_receiver(port) as posts:
        wait_until(lambda: len(posts.bodies) == 2)
        sent.take([event(3)])
        wait_until(lambda: len(posts.bodies) == 3)
        set_disk(outbox, is_writable=True)
        sent.take([event(4)])
        wait_until(lambda: len(posts.bodies) == 4 and sent.health() == "")
        sent.close()
    assert keys(posts.records) == [f"e{number}-0" for number in (1, 2, 3, 4)]
    assert sum("until then events are kept in memory" in line for line in said) == 1
    assert any("the queue is on disk again" in line for line in said)
    with web_receiver(port) as later, delivery(tmp_path, later.url) as sent:
        sent.take([event(5)])
        wait_until(lambda: "e5-0" in keys(later.records))
    assert sorted(keys(later.records)) == ["e1-1", "e2-1", "e3-1", "e4-1", "e5-0"]  # their open events were stored, too


def test_a_late_answer_at_the_end_is_not_reported_as_a_full_disk(tmp_path: Path, said: list[str]) -> None:
    """The answer arrives after `close`."""
    with web_receiver() as posts:
        posts.answers_now.clear()
        with delivery(tmp_path, posts.url) as sent:
            sent.take([event(1)])
        posts.answers_now.set()
        sent._thread.join()
    assert not any("make room" in line for line in said)
    assert any("1 records wait in" in line for line in said)


class RefusingWebhook(Webhook):
    """Refuses counts, and all records of the camera `door`."""

    refusing = True

    def send(self, message: QueuedMessage) -> None:
        if self.refusing and (message.camera == "door" or message.channel[1] == "counts"):
            raise NotDelivered(f"no {message.channel[1]} of {message.camera}, please", is_of_channel=True)
        super().send(message)


def test_a_refused_camera_does_not_delay_others_and_its_records_are_kept(tmp_path: Path, said: list[str]) -> None:
    with web_receiver() as posts:
        transport = RefusingWebhook(posts.url, None)
        sent = Delivery(transport, Outbox(str(tmp_path / "events.db"), 1_000_000), HastyClock(20))
        counts = MinuteCounts("lab", NOW, NOW, dict.fromkeys(Label, 1), dict.fromkeys(Label, 2.0))
        sent.take([event(1), counts, event(2, source_id="lab"), event(3)])
        wait_until(lambda: len(posts.bodies) == 1)
        sent.take([event(4, source_id="lab")])
        wait_until(lambda: len(posts.bodies) == 2)
        waiting = "webhook at 127.0.0.1: 3 events wait: no events of door, please; no counts of lab, please"
        wait_until(lambda: sent.health() == waiting)  # the sender may not have seen the last answer yet
        transport.refusing = False
        wait_until(lambda: len(posts.bodies) == 5)
        wait_until(lambda: sent.health() == "")
        sent.close()
    assert keys(posts.records[:2]) == ["e2-0", "e4-0"]
    assert [key for key in keys(posts.records) if key in ("e1-0", "e3-0")] == ["e1-0", "e3-0"]
    assert sum("no events of door, please; the records are kept, trying again" in line for line in said) == 1


@pytest.mark.slow
def test_the_number_of_lost_records_is_retried_as_the_same_record(tmp_path: Path) -> None:
    with web_receiver() as posts, delivery(tmp_path, posts.url, limit=1000, clock=HastyClock(20)) as sent:
        posts.answers += [503] * 9
        for number in range(9):
            sent.take([event(number)])
        wait_until(lambda: "e8-0" in keys(posts.records))
    reported = [record for record in posts.records if record["type"] == "lost"]
    assert sum(record["records"] for record in reported) + len(keys(posts.records)) == 9
    again = [header for header in posts.asked if header["webhook-id"].startswith("lost-")]
    assert len({header["webhook-id"] for header in again}) == len(reported) < len(again)


def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    with web_receiver() as posts, delivery(tmp_path, posts.url) as sent:
        sent.close()
        sent.close()


def test_the_example_in_the_documentation_verifies_standard_webhooks_signatures(tmp_path: Path) -> None:
    secret, now_s = "whsec_" + b64encode(b"between us, 24 bytes or so").decode(), [1_800_000_000.0]
    with web_receiver() as posts:
        posts.answers.append(503)
        hook = Webhook(posts.url, secret, now_s=lambda: now_s[0])
        sent = Delivery(hook, Outbox(str(tmp_path / "events.db"), 1_000_000), HastyClock(20))
        sent.take([event(1)])
        wait_until(lambda: len(posts.bodies) == 1)
        sent.close()
    refused, taken = posts.asked
    assert refused["webhook-id"] == taken["webhook-id"] == taken["X-Maskstream-Key"] == "e1-0"
    assert taken["webhook-timestamp"] == "1800000000"
    namespace: dict[str, Callable[..., bool]] = {}
    exec(documented("def is_genuine"), namespace)
    is_genuine = partial(namespace["is_genuine"], secret)
    assert is_genuine(taken, posts.bodies[0], now_s[0] + 60)
    assert not is_genuine(taken, posts.bodies[0], now_s[0] + 600)
    assert not is_genuine(taken, posts.bodies[0] + b" ", now_s[0])
    assert not is_genuine({**taken, "webhook-timestamp": "1800000001"}, posts.bodies[0], now_s[0])
    assert not is_genuine({**taken, "webhook-id": "e1-1"}, posts.bodies[0], now_s[0])
    assert taken["X-Maskstream-Signature"] == f"sha256={hmac.new(secret.encode(), posts.bodies[0], sha256).hexdigest()}"


def test_a_secret_of_any_form_signs_with_its_own_bytes(tmp_path: Path) -> None:
    with web_receiver() as posts, delivery(tmp_path, posts.url, "s3cret") as sent:
        sent.take([event(1)])
        wait_until(lambda: len(posts.bodies) == 1)
    given = posts.headers[0]
    signed = f"{given['webhook-id']}.{given['webhook-timestamp']}.".encode() + posts.bodies[0]
    assert given["webhook-signature"] == "v1," + b64encode(hmac.digest(b"s3cret", signed, "sha256")).decode()
    with pytest.raises(ConfigError, match="whsec_ in secret is not base64"):
        Webhook(posts.url, "whsec_#")


def documented(beginning: str) -> str:
    """Return the code block in the documentation with this text."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "events.md").read_text(), re.DOTALL)
    (block,) = [block for block in blocks if beginning in block]
    return str(block)
