"""Lead a site: call the agents of all nodes, commit their records, place the cameras, and pass the records on."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Event
from time import time
from typing import Final

from loguru import logger

from maskstream import __version__
from maskstream.clock import MONOTONIC, Clock
from maskstream.errors import SinkClosed, SinkError, SiteTakenOver
from maskstream.fleet.agent import NodeSettings
from maskstream.fleet.assignments import Assignments
from maskstream.fleet.camera_states import CameraStates
from maskstream.fleet.collector import Collector
from maskstream.fleet.dispatch import Dispatcher
from maskstream.fleet.fleet_view import fleet_status
from maskstream.fleet.node_link import NodeLink
from maskstream.fleet.orders import Change
from maskstream.fleet.placement import NodeInfo, Placement, WorkerDied, WorkerSpec
from maskstream.fleet.site import Site
from maskstream.fleet.site_node import SiteNode
from maskstream.fleet.status import FleetStatus, Move
from maskstream.fleet.wire import Assignment, Heartbeat, Reconcile
from maskstream.stream.states import StateChange

TURN_S: Final = 0.5
CLOSE_S: Final = 10.0
_LEAST_S: Final = 0.1
_NODES_EVERY_S: Final = 5.0
_KEPT_MOVES: Final = 50
_BEGIN_S: Final = 10.0
"""At the start, cameras are not placed before all nodes have answered, or before this time."""
_LOG_EVERY_S: Final = 60.0


@dataclass(frozen=True)
class SiteParts:
    """What a supervisor leads a site with."""

    placement: Placement
    spec: Callable[[NodeInfo], WorkerSpec]
    """Returns the agent of a node."""
    assignments: Assignments
    collector: Collector
    forward: Callable[[], object]
    """Passes committed records on to the receivers of events. Called in each turn."""
    state_changed: Callable[[StateChange], None]
    """Receives the changes of the states of cameras."""
    poll_site: Callable[[], Site | None]
    """Returns the site after an edit."""
    settings_of: Callable[[Site], NodeSettings]
    """Returns the configuration of the nodes for a site."""
    clock: Clock = MONOTONIC
    now_utc: Callable[[], float] = time


class Supervisor:
    """The loop of `maskstream fleet`. One thread calls it; any thread may call `status`."""

    def __init__(self, site: Site, parts: SiteParts) -> None:
        """Begin with the assignments of an earlier start, whose agents may run."""
        self._site = site
        self._parts = parts
        self._clock = parts.clock
        self._settings = parts.settings_of(site)
        self._dispatch = Dispatcher(site, parts.assignments, parts.clock)
        self._nodes: dict[str, SiteNode] = {}
        self._listed_s: float | None = None
        self._handed_over: set[tuple[str, int]] = set()
        self._removed: dict[tuple[str, int], float] = {}
        """When cameras left the site, in seconds since 1970, by camera and epoch, where their events have not ended."""
        self._moves: deque[Move] = deque(maxlen=_KEPT_MOVES)
        self._states = CameraStates(parts.state_changed, parts.clock)
        self._disk_logged_s: float | None = None
        self._never = Event()
        self._began_s = parts.clock.now_s()
        self._is_begun = False
        self._turned_s = parts.clock.now_s()
        self._stale_before = parts.collector.totals().stale
        self._stale = 0
        self._status = self._view()

    def run(self, is_stopped: Callable[[], bool]) -> None:
        """Make turns until it is stopped.

        Raises:
            SiteTakenOver: Another supervisor has taken over the site.
            SinkClosed: The reader of `--events -` closed the pipe.
        """
        while not is_stopped():
            self.turn()

    def turn(self) -> None:
        """Call all agents that have answered, take what they answer within 0.5 s, and do what follows from it."""
        began_s = self._clock.now_s()
        self._keep(self._adopt_site)
        self._list_nodes(began_s)
        for node in self._nodes.values():
            node.link.attend(began_s)
            self._send(node)
        self._receive(max(began_s + TURN_S, self._clock.now_s() + _LEAST_S))  # Ray may have answered slowly
        if self._has_begun(began_s):
            self._keep(self._place)
        self._keep(self._end_events_of_removed_cameras)
        self._keep(self._parts.forward)
        self._turned_s = self._clock.now_s()
        self._status = self._view()
        if self._is_begun:
            self._states.follow(self._status.cameras)

    def status(self) -> FleetStatus:
        """Return the state of the site after the latest turn. May be called from any thread."""
        return self._status.at(self._clock.now_s() - self._turned_s)

    def close(self, limit_s: float = CLOSE_S) -> None:
        """End all agents in order: their engines end, their last records are committed and passed on."""
        for node in self._nodes.values():
            node.link.stop()
        until_s = self._clock.now_s() + limit_s
        while self._clock.now_s() < until_s and not all(node.is_done for node in self._nodes.values()):
            for node in self._nodes.values():
                self._send(node)
            self._receive(self._clock.now_s() + TURN_S / 5)
        for name, node in self._nodes.items():
            if not node.is_done:
                waiting = node.link.last.waiting if node.link.last else 0
                logger.warning("{}: did not end within {:g} s; {} records wait there for the next start", name, limit_s, waiting)
            node.link.end()
        with suppress(SinkClosed):
            self._keep(self._parts.forward)

    def _has_begun(self, now_s: float) -> bool:
        """Return whether cameras may be placed: all nodes have answered, or 10 s are over. Else the first would get all."""
        if not self._is_begun:
            answered = all(node.facts.last is not None for node in self._nodes.values())
            self._is_begun = answered or now_s - self._began_s >= _BEGIN_S
        return self._is_begun

    def _adopt_site(self) -> None:
        site = self._parts.poll_site()
        if site is not None:
            self._site, self._settings = site, self._parts.settings_of(site)
            self._dispatch.set_site(site)
            logger.info("{}: generation {}, {} cameras", site.name, site.generation, len(site.cameras))

    def _list_nodes(self, now_s: float) -> None:
        """Look for nodes that have joined. A node that left stays known: its agent may still answer."""
        if self._listed_s is not None and now_s - self._listed_s < _NODES_EVERY_S:
            return
        found = {info.name: info for info in self._parts.placement.nodes() if info.is_alive}
        if self._listed_s is None:  # agents on nodes that an earlier start had
            former = [NodeInfo(name, 0, 0, is_alive=False) for name in self._parts.assignments.agents() if name not in found]
            found |= {info.name: info for info in former if self._has_agent(info)}
        self._listed_s = now_s
        self._stale = self._parts.collector.totals().stale - self._stale_before
        for name, info in found.items():
            if name not in self._nodes:
                self._nodes[name] = SiteNode(NodeLink(self._parts.placement, self._parts.spec(info)))
        self._dispatch.set_nodes(self._nodes)

    def _has_agent(self, node: NodeInfo) -> bool:
        try:
            return self._parts.placement.find(self._parts.spec(node).name) is not None
        except OSError:  # the head of Ray is down
            return False

    def _send(self, node: SiteNode) -> None:
        if node.link.is_free:
            node.link.send(self._wanted(node.link), self._clock.now_s())

    def _wanted(self, link: NodeLink) -> Reconcile:
        """Return what a node has to do. A new agent gets its cameras, with other epochs, when it has answered."""
        order = self._dispatch.order(link.node)
        entries = {camera.name: camera.entry for camera in self._site.cameras}
        assigned = order.assigned if link.is_known else ()
        committed = self._parts.collector.acknowledged(link.node)
        return Reconcile(
            supervisor=self._parts.assignments.authority,
            term=self._parts.assignments.term,
            generation=self._site.generation,
            assignments=tuple(
                Assignment(row.camera, row.epoch, entries[row.camera]) for row in assigned if row.camera in entries
            ),
            lease_s=order.lease_s,
            on_partition=self._site.on_partition,
            acknowledged=committed.acknowledged,
            outbox=committed.outbox,
            turn=order.turn,
            echo_s=order.echo_s,
            settings=self._settings.layers,
            overrides=self._settings.overrides,
            version=__version__,
        )

    def _receive(self, until_s: float) -> None:
        """Take answers until a moment. No slow node delays the others."""
        while (left_s := until_s - self._clock.now_s()) > 0:
            calls = {id(node.link.call): node for node in self._nodes.values() if node.link.call is not None}
            if not calls:
                self._clock.wait(self._never, left_s)
                return
            done = self._parts.placement.wait([node.link.call for node in calls.values() if node.link.call], left_s)
            for call in done:
                self._take(calls[id(call)])

    def _take(self, node: SiteNode) -> None:
        name, now_s = node.link.node, self._clock.now_s()
        try:
            reply = node.link.receive(now_s)
        except WorkerDied as died:
            if died.has_ended:  # else it may go on until its lease ends
                self._dispatch.ended(name)
            return
        if reply is None:
            return
        node.note(reply, now_s, self._parts.now_utc())
        node.compare(self._nodes.values())
        if not reply.refused:
            self._keep(partial(self._commit, reply, node.facts.clock_offset_s))
        self._keep(partial(self._dispatch.heard, node.report(reply)))

    def _keep(self, work: Callable[[], object]) -> None:
        """Work on a file. Where the disk is full, the next turn tries again: records stay on their nodes, cameras as well."""
        try:
            work()
        except (SinkClosed, SiteTakenOver):
            raise
        except SinkError as error:
            now_s = self._clock.now_s()
            if self._disk_logged_s is None or now_s - self._disk_logged_s >= _LOG_EVERY_S:
                self._disk_logged_s = now_s
                logger.error("{}; until then records and cameras stay on their nodes", error)

    def _commit(self, reply: Heartbeat, clock_offset_s: float) -> None:
        """Commit records. Those of a camera count from the first frame on its new node."""
        current = self._parts.assignments.current()
        for camera in reply.cameras:
            key = camera.camera, camera.epoch
            row = current.get(camera.camera)
            is_new = row is not None and row.epoch == camera.epoch and key not in self._handed_over
            if is_new and camera.first_frame_utc is not None:
                at_utc = camera.first_frame_utc - clock_offset_s
                self._parts.collector.hand_over(camera.camera, camera.epoch - 1, camera.epoch, at_utc)
                self._handed_over.add(key)
        self._parts.collector.commit(reply, clock_offset_s)

    def _place(self) -> None:
        for change in self._dispatch.take_turn():
            self._note(change)

    def _end_events_of_removed_cameras(self) -> None:
        for (camera, epoch), at_utc in list(self._removed.items()):
            self._parts.collector.hand_over(camera, epoch, None, at_utc)
            del self._removed[camera, epoch]

    def _note(self, change: Change) -> None:
        """Log a change, and keep it for the status."""
        is_gone = all(camera.name != change.camera for camera in self._site.cameras)
        if is_gone and change.old_epoch is not None:
            self._removed[change.camera, change.old_epoch] = self._parts.now_utc()
        if change.to_node is None and not is_gone:
            logger.info("{}: {} closes it: {}", change.camera, change.from_node, change.why)
            return  # the end of a move that is noted
        source, target = change.from_node or "no node", change.to_node or "no node"
        logger.info("{}: {} -> {}: {}", change.camera, source, target, change.why)
        self._moves.appendleft(Move(self._parts.now_utc(), change.camera, change.from_node, change.to_node, change.why))

    def _view(self) -> FleetStatus:
        facts = [node.facts for node in self._nodes.values()]
        for node in self._nodes.values():
            node.facts.link_problem = node.link.problem
        return fleet_status(self._site, facts, self._dispatch, self._parts.assignments, self._moves, self._stale)
