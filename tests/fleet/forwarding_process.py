"""Processes that are killed on the way of records: python -m tests.fleet.forwarding_process FOLDER ROUNDS [WEBHOOK [MQTT]].

A child makes records on a node, commits them at a supervisor and forwards them, in a loop, until it is killed at a random moment.
It is forked by this process, which has one thread and everything imported: a start of Python takes longer than a round.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Final
from uuid import uuid4

from maskstream.clock import MONOTONIC
from maskstream.events.delivery import Delivery
from maskstream.events.mqtt import Mqtt
from maskstream.events.outbox import Outbox
from maskstream.events.types import EventOrCounts, Phase
from maskstream.events.webhook import Webhook
from maskstream.fleet.collector import Collector
from maskstream.fleet.forwarding import Forwarding, SavingReceiver, forwarded_file
from maskstream.store.sink import StoreSink
from maskstream.store.store import Store
from tests.fleet.made import Node, mask_event, minute_counts
from tests.forks import fork

LONGEST_LIFE_S: Final = 0.15
QUEUE_BYTES: Final = 50_000_000


def records_of_a_visit(at_s: float) -> list[EventOrCounts]:
    """Return the records of one event and of one minute."""
    event_id = uuid4().hex
    phases = (Phase.START, Phase.UPDATE, Phase.UPDATE, Phase.END)
    events = [
        mask_event(event_id, number, phase, began_s=at_s, last_s=at_s + number + 1, cause="gone")
        for number, phase in enumerate(phases)
    ]
    return [*events, minute_counts(at_s, at_s + 5)]


class Site:
    """A node, a supervisor and all kinds of receivers, with their files in one folder."""

    def __init__(self, folder: Path, addresses: list[str]) -> None:
        self.node = Node(folder)
        self.collector = Collector(folder)
        self.store = Store(folder / "store")
        self.receivers: list[SavingReceiver] = [
            forwarded_file(str(folder / "events.jsonl"), self.collector),
            StoreSink(self.store, events_continue=True),
        ]
        queue = Outbox(str(folder / "queue.db"), QUEUE_BYTES) if addresses else None
        for address in addresses:
            transport = Mqtt(address) if address.startswith("mqtt") else Webhook(address, None)
            assert queue is not None
            self.receivers.append(Delivery(transport, queue, MONOTONIC, events_continue=True))
        self.forwarding = Forwarding(self.collector, self.receivers)

    def step(self) -> None:
        """Call the node, commit what it returns and forward it."""
        self.collector.commit(self.node.reply(self.collector, limit=7), 0.0)
        self.forwarding.step()

    def finish(self) -> None:
        """Deliver everything, and close."""
        while self.node.outbox.waiting():
            self.step()
        while self.collector.totals().waiting:
            self.forwarding.step()
        while any(each.health() for each in self.receivers):
            time.sleep(0.01)
        self.forwarding.close()
        self.store.close()
        self.collector.close()
        self.node.outbox.release()


def work_without_end(folder: Path, addresses: list[str], reports: int, round_number: int) -> None:
    """Make records, and report each one that the node has on its disk."""
    site = Site(folder, addresses)
    for number in range(100_000):
        made = records_of_a_visit(round_number * 100_000.0 + number * 10.0)
        for item in made:
            site.node.outbox.take([item])
            os.write(reports, f"{json.dumps(_name(item))}\n".encode())
            site.step()


def killed(folder: Path, rounds: int, addresses: list[str]) -> list[list[str]]:
    """Kill a working child many times; return the names of the records that it reported."""
    reported: list[list[str]] = []
    for round_number in range(rounds):
        reading, writing = os.pipe()
        child = fork()
        if not child:
            try:
                work_without_end(folder, addresses, writing, round_number)
            finally:
                os._exit(1)
        os.close(writing)
        text = os.read(reading, 65536)
        time.sleep(random.uniform(0.0, LONGEST_LIFE_S))
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status), "the child has failed"
        while part := os.read(reading, 65536):
            text += part
        os.close(reading)
        reported += [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]
    Site(folder, addresses).finish()
    return reported


def _name(item: EventOrCounts) -> list[str]:
    """Return what identifies a record in the file."""
    counted = item.began.wall_time
    event = [getattr(item, "event_id", ""), str(getattr(item, "sequence", ""))]
    return event if event[0] else ["counts", "" if counted is None else counted.isoformat(timespec="milliseconds")]


if __name__ == "__main__":
    place, number, *urls = sys.argv[1:]
    json.dump(killed(Path(place), int(number), urls), sys.stdout)
