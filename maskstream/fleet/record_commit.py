"""Add the records of one reply of a node to the collector, within its transaction."""

import json
import sqlite3
from collections import Counter
from dataclasses import replace
from typing import Final

from maskstream.events.event_records import parse_record
from maskstream.events.types import Phase
from maskstream.fleet import collector_tables as tables
from maskstream.fleet.fencing import Fate, JsonRecord, judge_counts, judge_event
from maskstream.fleet.wire import NodeRecord

ACCEPTED: Final = "accepted"
_LONGEST_REASON: Final = 200


class RecordCommit:
    """What became of the records of one reply."""

    def __init__(self, database: sqlite3.Connection, clock_offset_s: float) -> None:
        """Begin without records.

        Args:
            database: Within a transaction.
            clock_offset_s: The time of the clock of the node minus that of this machine.
        """
        self.fates = Counter[str]()
        """How many records were accepted, or why they were not: the values of `Fate`."""
        self.unsettled: set[tuple[str, int]] = set()
        """Camera and new epoch of hand-overs after which another event of a former node is open."""
        self.malformed = ""
        """The latest record that cannot be read, and why; empty where there is none."""
        self._database = database
        self._clock_offset_s = clock_offset_s

    def add(self, sent: NodeRecord) -> None:
        """Insert a record where it counts."""
        judged = self._judge(sent)
        if isinstance(judged, Fate):
            self.fates[judged.value] += 1
        else:
            self.fates[ACCEPTED if self._insert(sent, judged) else Fate.REPEATED.value] += 1

    def _judge(self, sent: NodeRecord) -> JsonRecord | Fate:
        """Return the record that goes on, or why none does."""
        try:
            record = json.loads(sent.body)
            parse_record(record)
        except ValueError as error:
            reason = " ".join(str(error).split())[:_LONGEST_REASON]
            self.malformed = f"record {sent.number} of {sent.camera} is discarded: {reason}"
            return Fate.MALFORMED
        hand_over = tables.hand_over_of(self._database, sent.camera, sent.epoch)
        if hand_over is not None:
            hand_over = replace(hand_over, at_utc=hand_over.at_utc + self._clock_offset_s)
        if record["type"] == "counts":
            return judge_counts(record, hand_over)
        judged = judge_event(record, tables.known_event(self._database, record["event_id"]), hand_over)
        if hand_over is not None and not isinstance(judged, Fate) and judged["phase"] != Phase.END.value:
            self.unsettled.add(tables.set_unsettled(self._database, sent.camera, sent.epoch))
        return judged

    def _insert(self, sent: NodeRecord, record: JsonRecord) -> bool:
        if record["type"] == "counts":
            return tables.insert_counts(self._database, sent.camera, sent.epoch, sent.key, record)
        sequence = json.loads(sent.body)["sequence"]
        return tables.insert_event(self._database, sent.camera, sent.epoch, record, sequence)
