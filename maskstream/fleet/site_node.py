"""Keep what the supervisor learned from the replies of one node."""

from collections.abc import Iterable
from typing import Final

from loguru import logger

from maskstream.fleet.fleet_view import NodeFacts, difference_of
from maskstream.fleet.node_link import NodeLink
from maskstream.fleet.orders import NodeReport
from maskstream.fleet.wire import Heartbeat

_SURE_S: Final = 1.0
"""The clock of a node is compared where its reply took no longer than this."""
_CLOCK_S: Final = 2.0
"""Clocks that differ by more than this are logged."""
_IDLE_S: Final = 15.0
"""A node whose engine does not run for this time takes no cameras."""


class SiteNode:
    """A node: the link to its agent, and what is known of it."""

    def __init__(self, link: NodeLink) -> None:
        """Begin without a reply."""
        self.link = link
        self.facts = NodeFacts(link.node)
        self._idle_since_s: float | None = None
        self._logged_offset_s = 0.0

    @property
    def is_done(self) -> bool:
        """Whether its engine has ended, and no record waits on it."""
        last = self.link.last
        if not self.link.is_running:
            return True
        return last is not None and not last.cameras and not last.capacity_fps and not last.waiting

    def note(self, reply: Heartbeat, now_s: float, now_utc: float) -> None:
        """Take a reply: the difference of the clocks, and whether the node takes cameras."""
        facts, took_s = self.facts, now_s - self.link.sent_s
        if took_s < _SURE_S:
            self._note_clock(reply.wall_utc - now_utc + took_s / 2)
        if reply.capacity_fps > 0:
            self._idle_since_s = None
        elif self._idle_since_s is None:
            self._idle_since_s = now_s
        is_idle = self._idle_since_s is not None and now_s - self._idle_since_s > _IDLE_S
        problem = reply.refused or (" | ".join(reply.problems) or "its engine does not run" if is_idle else "")
        if problem and problem != facts.problem:
            logger.error("{}: takes no cameras: {}", facts.name, problem)
        facts.last, facts.problem = reply, problem

    def _note_clock(self, offset_s: float) -> None:
        """Warn where the clock of the node differs from that of the supervisor, and where that changes."""
        self.facts.clock_offset_s = offset_s
        if abs(offset_s - self._logged_offset_s) <= _CLOCK_S:
            return
        self._logged_offset_s = offset_s
        if abs(offset_s) <= _CLOCK_S:
            logger.info("{}: its clock is right again", self.facts.name)
            return
        side = "ahead of" if offset_s > 0 else "behind"
        seconds = f"{abs(offset_s):.0f} s {side} that of the supervisor"
        logger.warning("{}: its clock is {}, and so are the times of its records; set it by NTP", self.facts.name, seconds)

    def compare(self, others: Iterable["SiteNode"]) -> None:
        """Warn where the node has other weights or settings than the others: its results cannot be compared with theirs."""
        facts = self.facts
        alike = (other.facts for other in others if other is not self and not other.facts.difference)
        first = next((each.last.versions for each in alike if each.last and each.last.versions.weights), None)
        difference = difference_of(facts.last.versions, first) if facts.last and first else ""
        if difference and difference != facts.difference:
            logger.warning("{}: {}", facts.name, difference)
        facts.difference = difference

    def report(self, reply: Heartbeat) -> NodeReport:
        """Return the part of a reply that cameras are placed by."""
        delivering = [camera for camera in reply.cameras if camera.wanted_fps > 0]
        wanted_fps = sum(camera.wanted_fps for camera in delivering)
        analysed_fps = sum(min(camera.analysed_fps, camera.wanted_fps) for camera in delivering)
        return NodeReport(
            node=reply.node,
            agent=reply.agent,
            sent_s=reply.sent_s,
            applied_turn=reply.applied_turn,
            capacity_fps=reply.capacity_fps,
            demand_fps={camera.camera: camera.wanted_fps for camera in delivering},
            dropped_share=1 - analysed_fps / wanted_fps if wanted_fps else 0.0,
            running=frozenset((camera.camera, camera.epoch) for camera in reply.cameras),
            online=frozenset((camera.camera, camera.epoch) for camera in reply.cameras if camera.first_frame_utc is not None),
            refuses=self.facts.problem,
        )
