"""Each record that counts arrives once and in order, whatever is lost, doubled, late, killed or full on the way."""

import json
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from maskstream.errors import SinkError
from maskstream.events.event_records import event_record
from maskstream.events.messages import ended_record, message_of
from maskstream.events.types import EventOrCounts, MaskEvent, Phase
from maskstream.fleet.collector import SETTLE_S, Collector
from maskstream.fleet.forwarding import Forwarding, forwarded_file
from maskstream.fleet.wire import Heartbeat
from maskstream.stream.states import StateChange
from tests.clocks import ManualClock
from tests.disks import files_at_most
from tests.fleet.made import Node, mask_event, minute_counts, utc_s
from tests.properties import examples

CAMERAS = ("door", "lab")
NODES = {"east": -300.0, "west": 300.0, "south": 0.0}
"""The clocks of two nodes are five minutes off."""
FULL_BYTES = 4096
IN_MEMORY = "/dev/shm"
"""Hundreds of commits are too slow on a disk that others use."""
CAMERA = st.sampled_from(CAMERAS)
NODE = st.sampled_from(sorted(NODES))
PICK = st.integers(0, 99)
LAST_CALLS = 3
"""After which all has arrived that can."""


class Killed(BaseException):
    """The supervisor is killed between two steps."""


@dataclass
class KeptKeys:
    """A receiver that knows a record again by its key, as one of MQTT or of a webhook does; it outlives the supervisor."""

    by_key: dict[str, str] = field(default_factory=dict)
    dies_at: str = ""

    def take(self, items: Sequence[EventOrCounts]) -> None:
        self._die("before")
        for item in items:
            message = message_of(item)
            body = message.body.decode()
            assert self.by_key.setdefault(message.key, body) == body, "one key, two records"
        self._die("after")

    def is_saved(self) -> bool:
        self._die("saved")
        return True

    def state_changed(self, change: StateChange) -> None:
        """Not used."""

    def health(self) -> str:
        return ""

    def close(self) -> None:
        """Nothing to finish."""

    def _die(self, here: str) -> None:
        if self.dies_at == here:
            self.dies_at = ""
            raise Killed


@dataclass
class Sent:
    """A record that a node has made."""

    node: str
    camera: str
    epoch: int
    record: dict[str, Any]
    began_s: float
    last_s: float
    """By the true time."""


class SiteMachine(RuleBasedStateMachine):
    """Three nodes, two cameras and a supervisor, with real files."""

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory(dir=IN_MEMORY if Path(IN_MEMORY).is_dir() else None)
        self.clock = ManualClock()
        self.now_s = 0.0
        self.numbers = count()
        self.epochs = count(1)
        self.held: dict[str, dict[str, int]] = {name: {} for name in NODES}
        """The epoch of each camera that a node watches; it may be over."""
        self.known_epochs: dict[str, dict[str, int]] = {name: {} for name in NODES}
        self.current: dict[str, int] = {}
        self.ended_s: dict[tuple[str, int], float] = {}
        """When a camera got the next epoch."""
        self.open: dict[tuple[str, str], MaskEvent] = {}
        """By node and camera."""
        self.sent: list[Sent] = []
        self.minutes: set[tuple[str, float]] = set()
        self.replies: list[Heartbeat] = []
        self.receiver = KeptKeys()
        self.nodes = {
            name: Node(Path(self.folder.name), name, epoch_of=self.known_epochs[name].__getitem__, clock=self.clock)
            for name in NODES
        }
        self.start_supervisor()
        for camera, node in zip(CAMERAS, NODES, strict=False):
            self.place(camera, node)

    def start_supervisor(self) -> None:
        self.collector = Collector(Path(self.folder.name), self.clock)
        self.file = forwarded_file(str(Path(self.folder.name) / "events.jsonl"), self.collector)
        self.forwarding = Forwarding(self.collector, [self.file, self.receiver], self.clock)

    def place(self, camera: str, node: str) -> None:
        self.current[camera] = self.held[node][camera] = self.known_epochs[node][camera] = next(self.epochs)

    def tick(self) -> float:
        self.now_s += 1.0
        return self.now_s

    # The cameras.

    def take(self, node: str, camera: str, item: EventOrCounts) -> None:
        began_s, last_s = item.began.time_s, item.last.time_s
        epoch = self.known_epochs[node][camera]
        self.sent.append(Sent(node, camera, epoch, event_record(item), began_s, last_s))
        self.nodes[node].outbox.take([item])

    def next_of(self, node: str, camera: str, phase: Phase, cause: str | None = None) -> MaskEvent:
        """Return the next record of the open event of a camera, or of another event."""
        before = self.open.get((node, camera))
        now_s = self.tick()
        event_id = f"e{next(self.numbers)}" if before is None else before.event_id
        began_s = now_s - 0.5 if before is None else before.began.time_s
        sequence = 0 if before is None else before.sequence + 1
        return mask_event(
            event_id, sequence, phase, camera=camera, began_s=began_s, last_s=now_s, offset_s=NODES[node], cause=cause
        )

    def watched(self, pick: int) -> tuple[str, str]:
        """Return a node and a camera that it watches."""
        pairs = [(node, camera) for node, cameras in self.held.items() for camera in cameras]
        return pairs[pick % len(pairs)]

    @rule(pick=PICK, times=st.integers(1, 3))
    def a_person_is_seen(self, pick: int, times: int) -> None:
        node, camera = self.watched(pick)
        for _ in range(times):
            event = self.next_of(node, camera, Phase.UPDATE if (node, camera) in self.open else Phase.START)
            self.take(node, camera, event)
            self.open[node, camera] = event

    @rule(pick=PICK)
    def a_person_leaves(self, pick: int) -> None:
        node, camera = self.watched(pick)
        if (node, camera) in self.open:
            self.take(node, camera, self.next_of(node, camera, Phase.END, "gone"))
            del self.open[node, camera]

    @rule(pick=PICK)
    def a_minute_ends(self, pick: int) -> None:
        """Maybe a minute in which its camera has moved."""
        node, camera = self.watched(pick)
        until_s = self.ended_s.get((camera, self.held[node][camera]), 0.0)
        began_s = until_s - 0.25 if until_s and pick % 2 else self.tick()
        last_s = self.tick()
        if (camera, began_s) not in self.minutes:
            self.minutes.add((camera, began_s))
            self.take(node, camera, minute_counts(began_s, last_s, camera=camera, offset_s=NODES[node]))

    # The hand-overs.

    @rule(camera=CAMERA, node=NODE)
    def a_camera_moves(self, camera: str, node: str) -> None:
        """The other node sees its first frame now. The former one watches until it hears of it."""
        if camera not in self.held[node]:
            old = self.current[camera]
            self.place(camera, node)
            at_s = self.tick() + 0.5
            for epoch in range(1, self.current[camera]):
                self.ended_s.setdefault((camera, epoch), at_s)
            for _ in range(2):  # the supervisor was killed between the hand-over and what it does then
                self.collector.hand_over(camera, old, self.current[camera], utc_s(at_s))

    @rule(pick=PICK)
    def a_former_node_gives_a_camera_up(self, pick: int) -> None:
        node, camera = self.watched(pick)
        if self.held[node][camera] != self.current[camera]:
            if (node, camera) in self.open:
                self.take(node, camera, self.next_of(node, camera, Phase.END, "removed"))
                del self.open[node, camera]
            del self.held[node][camera]

    @rule()
    def the_time_of_former_nodes_ends(self) -> None:
        self.clock.advance(SETTLE_S + 1)
        self.collector.settle()

    # The messages.

    @rule(limit=st.integers(1, 5))
    def the_nodes_are_called(self, limit: int) -> None:
        self.replies += [node.reply(self.collector, limit) for node in self.nodes.values() if node.outbox.waiting()]

    @precondition(lambda self: self.replies)
    @rule(data=st.data(), again=st.booleans())
    def a_reply_arrives(self, data: st.DataObject, again: bool) -> None:
        """In any order, and some of them twice."""
        index = data.draw(st.integers(0, len(self.replies) - 1))
        reply = self.replies[index] if again else self.replies.pop(index)
        self.collector.commit(reply, NODES[reply.node])

    @precondition(lambda self: self.replies)
    @rule()
    def the_replies_are_lost(self) -> None:
        self.replies.clear()

    @rule(node=NODE, number=st.integers(0, 3))
    def a_late_call_arrives(self, node: str, number: int) -> None:
        known = self.collector.acknowledged(node)
        if known.outbox:
            self.nodes[node].outbox.records(max(0, known.acknowledged - number), 3)

    @rule()
    def records_are_forwarded(self) -> None:
        self.forwarding.step()

    # The faults.

    @rule(node=NODE)
    def an_agent_is_killed(self, node: str) -> None:
        """The next one ends the open events, and goes on with the cameras. What only the memory had is lost with a full disk."""
        if self.nodes[node].outbox.problem:
            return
        self.nodes[node].kill()
        for _, event in self.of_node(node):
            last = ended_record(event_record(event), "interrupted")
            epoch = next(each.epoch for each in self.sent if each.record.get("event_id") == event.event_id)
            self.sent.append(Sent(node, event.source_id, epoch, last, event.began.time_s, event.last.time_s))
        self.open = {(each, camera): event for (each, camera), event in self.open.items() if each != node}
        self.nodes[node].start()

    def of_node(self, node: str) -> list[tuple[str, MaskEvent]]:
        return [(camera, event) for (each, camera), event in self.open.items() if each == node]

    @rule(here=st.sampled_from(["", "before", "after", "saved"]))
    def the_supervisor_is_killed(self, here: str) -> None:
        """Also while it forwards."""
        self.receiver.dies_at = here
        if here:
            with suppress(Killed):
                self.forwarding.step()
        self.receiver.dies_at = ""
        self.collector._file.connection.close()
        self.file.close()  # all lines were flushed
        self.start_supervisor()

    @rule(pick=PICK)
    def the_disk_of_a_node_is_full(self, pick: int) -> None:
        with files_at_most(FULL_BYTES):
            self.a_person_is_seen(pick, 1)
            self.a_minute_ends(pick)

    @precondition(lambda self: self.replies)
    @rule(data=st.data())
    def the_disk_of_the_supervisor_is_full(self, data: st.DataObject) -> None:
        reply = data.draw(st.sampled_from(self.replies))
        before = self.collector.acknowledged(reply.node)
        with files_at_most(FULL_BYTES):
            try:
                self.collector.commit(reply, NODES[reply.node])
            except SinkError:
                assert self.collector.acknowledged(reply.node) == before
            with suppress(SinkError):
                self.forwarding.step()

    # What holds.

    def received(self) -> list[dict[str, Any]]:
        text = (Path(self.folder.name) / "events.jsonl").read_text()
        complete = text[: text.rfind("\n") + 1]  # the rest is what a full disk took, and is removed
        return [json.loads(line) for line in complete.splitlines()]

    @invariant()
    def sequences_have_no_gaps_and_nothing_comes_twice(self) -> None:
        if not hasattr(self, "folder"):
            return
        sequences = defaultdict(list)
        texts = []
        for record in self.received():
            texts.append(json.dumps(record))
            if record["type"] == "event":
                sequences[record["event_id"]].append((record["sequence"], record["phase"] == "end"))
        assert len(set(texts)) == len(texts)
        for found in sequences.values():
            assert [number for number, _ in found] == list(range(len(found)))
            assert not any(is_end for _, is_end in found[:-1])

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        self.deliver_all()
        assert (Path(self.folder.name) / "events.jsonl").read_text()[-1:] in ("", "\n")
        self.sequences_have_no_gaps_and_nothing_comes_twice()
        received = self.received()
        arrived = sorted(json.dumps(each, sort_keys=True) for each in received)
        assert sorted(json.dumps(json.loads(body), sort_keys=True) for body in self.receiver.by_key.values()) == arrived
        events = {(each["event_id"], each["sequence"]): each for each in received if each["type"] == "event"}
        counts = {(each["source"], each["began_utc"]): each for each in received if each["type"] == "counts"}
        for sent in self.sent:
            until_s = self.ended_s.get((sent.camera, sent.epoch))
            if sent.record["type"] == "event":
                self.check_event(sent, until_s, events)
            else:
                self.check_counts(sent, until_s, counts)
        self.check_ends(events)
        for node in self.nodes.values():
            node.outbox.release()
        self.forwarding.close()
        self.collector.close()
        self.folder.cleanup()

    def deliver_all(self) -> None:
        for _ in range(2):  # the second time after the time of former nodes
            for name, node in self.nodes.items():
                for _ in range(LAST_CALLS):
                    self.collector.commit(node.reply(self.collector), NODES[name])
                assert node.outbox.waiting() == 0
            self.clock.advance(SETTLE_S + 1)
            self.forwarding.step()
        self.forwarding.step()
        assert self.collector.totals().waiting == 0

    @staticmethod
    def check_event(sent: Sent, until_s: float | None, events: dict[tuple[str, int], dict[str, Any]]) -> None:
        key = sent.record["event_id"], sent.record["sequence"]
        if until_s is None:
            assert events.get(key) == sent.record
        elif sent.last_s > until_s and sent.record["phase"] == "start":
            assert key not in events
        elif sent.record["phase"] == "start":
            assert events.get(key) == sent.record

    @staticmethod
    def check_counts(sent: Sent, until_s: float | None, counts: dict[tuple[str, str], dict[str, Any]]) -> None:
        found = counts.get((sent.camera, sent.record["began_utc"]))
        if until_s is None or sent.last_s <= until_s:
            assert found == sent.record
        elif sent.began_s >= until_s:
            assert found is None
        else:
            assert found is not None
            assert found["person_s"]["mask"] == until_s - sent.began_s

    def check_ends(self, events: dict[tuple[str, int], dict[str, Any]]) -> None:
        """An event of an epoch that is over has ended, and no later than the epoch."""
        of_event = {sent.record["event_id"]: sent for sent in self.sent if sent.record["type"] == "event"}
        last = {event_id: record for (event_id, _), record in sorted(events.items(), key=lambda item: item[0][1])}
        for event_id, record in last.items():
            sent = of_event[event_id]
            until_s = self.ended_s.get((sent.camera, sent.epoch))
            if until_s is not None:
                assert record["phase"] == "end"
                assert record["last_s"] <= until_s
                assert record["cause"] in ("moved", "gone", "interrupted")


SiteMachine.TestCase.settings = settings(examples(2.0), stateful_step_count=60)
TestSite = SiteMachine.TestCase
