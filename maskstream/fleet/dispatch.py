"""Place the cameras of a site turn by turn: the plan, the leases of the nodes, and the assignments on the disk."""

from collections.abc import Collection, Iterable
from typing import Final

from maskstream.clock import MONOTONIC, Clock
from maskstream.fleet.assignments import Assigned, Assignments, Stage
from maskstream.fleet.leases import NodeLeases
from maskstream.fleet.move_limits import MoveCounter, OverloadWatch
from maskstream.fleet.orders import Change, NodeReport, Order
from maskstream.fleet.plan import OVERLOAD_S, MoveCause, NodeView, Plan, PlannedMove, plan
from maskstream.fleet.site import Site

HAND_OVER_S: Final = 30.0
"""The maximum time that the former node keeps a camera that its new node cannot open: some cameras allow one connection only."""


class Dispatcher:
    """Decides in each turn which node analyses which camera. One thread calls it."""

    def __init__(self, site: Site, assignments: Assignments, clock: Clock = MONOTONIC) -> None:
        """Begin with the assignments of an earlier start: their nodes are taken for ones that were heard just now.

        Args:
            site: The site.
            assignments: On the disk.
            clock: The clock of the supervisor.
        """
        self.turn = 0
        """The number of the latest turn."""
        self.plan = Plan({}, (), {}, {})
        """The latest plan."""
        self._site = site
        self._assignments = assignments
        self._clock = clock
        self._leases = NodeLeases()
        self._overloads = OverloadWatch()
        self._moves = MoveCounter()
        self._nodes: set[str] = set()
        self._reports: dict[str, NodeReport] = {}
        self._demand_fps: dict[str, float] = {}
        """What each camera needed when it delivered frames last, on whatever node."""
        self._agents = assignments.agents()
        self._restarted: set[str] = set()
        self._changes: list[Change] = []
        """They are on the disk, and `take_turn` has not returned them."""
        self._removed_in: dict[int, int] = {}
        """The turn in which an epoch was removed."""
        self._began_s: dict[int, float] = {}
        """When an epoch was first seen here."""
        self._lease_changed_s = clock.now_s()
        self._kept_lease_s = assignments.longest_lease_s()
        self._expect_known_nodes()

    def set_site(self, site: Site) -> None:
        """Take over an edited site from the next turn on."""
        if site.lease_s != self._site.lease_s:
            self._lease_changed_s = self._clock.now_s()
        self._site = site
        names = {camera.name for camera in site.cameras}
        self._demand_fps = {name: fps for name, fps in self._demand_fps.items() if name in names}

    def set_nodes(self, names: Iterable[str]) -> None:
        """Set which nodes exist. Nodes with assignments are known without this."""
        self._nodes = set(names)

    def heard(self, report: NodeReport) -> None:
        """Note an answer of a node. One that refuses orders counts as none: its cameras are placed on other nodes."""
        now_s = self._clock.now_s()
        self._reports[report.node] = report
        if report.refuses:
            return
        self._leases.heard(report.node, report.sent_s, now_s)
        self._demand_fps |= report.demand_fps
        self._overloads.observe(report.node, report.dropped_share if report.running else 0.0, now_s)
        if self._agents.get(report.node, report.agent) != report.agent:
            self._restarted.add(report.node)
        if self._agents.get(report.node) != report.agent:
            self._assignments.note_agent(report.node, report.agent)
            self._agents[report.node] = report.agent

    def ended(self, node: str) -> None:
        """Note that the agent of a node has certainly ended: its cameras are placed on other nodes in the next turn."""
        self._leases.ended(node)

    def heard_age_s(self, node: str) -> float | None:
        """Return the time since the latest answer of a node; None before the first one."""
        return self._leases.heard_age_s(node, self._clock.now_s())

    def is_lost(self, node: str) -> bool:
        """Return whether a node is lost; also one that never answered."""
        return self._leases.is_lost(node, self._clock.now_s(), self._site.lease_s)

    def order(self, node: str) -> Order:
        """Return the order for the next call of a node. Each order may renew the lease of the node."""
        assigned = tuple(self._assignments.of_node(node))
        echo_s = self._leases.grant(node, self._site.lease_s)
        return Order(node, self.turn, assigned, echo_s, self._site.lease_s)

    def take_turn(self) -> list[Change]:
        """Plan, and write the changed assignments to the disk; return the changes.

        Raises:
            StoreError: The disk is full. The next turn does what is left, and returns the changes of this one as well.
            SiteTakenOver: Another supervisor has taken over.
        """
        self.turn += 1
        self._keep_lease()
        self._forget_closed()
        self._changes += self._remove_cameras()
        self._changes += self._assign()
        self._changes += self._release()
        changes, self._changes = self._changes, []
        return changes

    def _expect_known_nodes(self) -> None:
        now_s, now_utc = self._clock.now_s(), self._assignments.now_utc()
        lease_s = max(self._kept_lease_s, self._site.lease_s)
        rows = [*self._assignments.current().values(), *self._assignments.others()]
        for row in rows:
            self._leases.expect(row.node, now_s, lease_s)
        ages_s = (now_utc - row.since_utc for row in rows if row.stage is Stage.CURRENT)
        for age_s in sorted((age_s for age_s in ages_s if age_s >= 0), reverse=True):
            self._moves.add(now_s - age_s)  # the limit holds across a restart

    def _keep_lease(self) -> None:
        """Keep the longest lease that a node may have on the disk: the next supervisor waits as long."""
        lease_s, passed_s = self._site.lease_s, self._clock.now_s() - self._lease_changed_s
        if lease_s > self._kept_lease_s or (lease_s < self._kept_lease_s and passed_s > self._kept_lease_s):
            self._assignments.keep_longest_lease_s(lease_s)
            self._kept_lease_s = lease_s

    def _forget_closed(self) -> None:
        """Forget the assignments of former nodes that are lost, or that have closed the camera."""
        self._assignments.forget([row.epoch for row in self._assignments.others() if self._is_closed(row)])

    def _is_closed(self, row: Assigned) -> bool:
        if self.is_lost(row.node):
            return True
        report = self._reports.get(row.node)
        if row.stage is not Stage.REMOVED or report is None or report.refuses or (row.camera, row.epoch) in report.running:
            return False
        return report.applied_turn >= max(1, self._removed_in.get(row.epoch, 0))

    def _remove_cameras(self) -> list[Change]:
        names = {camera.name for camera in self._site.cameras}
        others = [row for row in self._assignments.others() if row.stage is Stage.LEAVING]
        gone = [row for row in (*self._assignments.current().values(), *others) if row.camera not in names]
        self._remove(gone)
        return [Change(row.camera, row.node, None, None, row.epoch, "removed from the site") for row in gone]

    def _remove(self, rows: Collection[Assigned]) -> None:
        self._assignments.remove(row.epoch for row in rows)
        self._removed_in |= {row.epoch: self.turn for row in rows}

    def _assign(self) -> list[Change]:
        now_s, current = self._clock.now_s(), self._assignments.current()
        # a camera that was removed and comes back stays on its node, which may not have closed it
        nodes = {row.camera: row.node for row in (*self._assignments.others(), *current.values())}
        recent = self._moves.recent(now_s)
        self.plan = plan(self._site, self._views(), nodes, self._overloads.durations_s(), recent)
        moves = {move.camera: move for move in self.plan.moves}
        placements = {name: node for name, node in self.plan.placements.items() if self._is_new(current.get(name), node)}
        keep = {name for name, move in moves.items() if move.cause.is_limited}
        epochs = self._assignments.assign_all(placements, keep) if placements else {}
        self._restarted.clear()
        for move in self.plan.moves:
            if move.cause.is_limited:
                self._moves.add(now_s)
            if move.cause is MoveCause.OVERLOAD and move.from_node is not None:
                self._overloads.forget(move.from_node)
        return [
            Change(
                camera=name,
                from_node=nodes.get(name),
                to_node=placements[name],
                epoch=epoch,
                old_epoch=current[name].epoch if name in current else None,
                why=self._why(moves.get(name), is_restarted=name in current),
            )
            for name, epoch in epochs.items()
        ]

    def _is_new(self, row: Assigned | None, node: str) -> bool:
        return row is None or row.node != node or node in self._restarted

    def _views(self) -> list[NodeView]:
        now_s, lease_s, draining = self._clock.now_s(), self._site.lease_s, self._assignments.draining()
        rows = (*self._assignments.current().values(), *self._assignments.others())
        views = []
        for name in sorted({*self._nodes, *self._reports, *(row.node for row in rows)}):
            report = self._reports.get(name)
            is_silent = self._leases.is_silent(name, now_s, lease_s) or bool(report and report.refuses)
            views.append(
                NodeView(
                    name=name,
                    is_up=not self._leases.is_lost(name, now_s, lease_s),
                    is_draining=name in draining,
                    capacity_fps=report.capacity_fps if report else 0.0,
                    demand_fps=self._demand_fps,
                    is_silent=is_silent,
                )
            )
        return views

    def _release(self) -> list[Change]:
        """Let former nodes close cameras that their new nodes analyse."""
        current = self._assignments.current()
        self._began_s = {row.epoch: self._began_s.get(row.epoch, self._clock.now_s()) for row in current.values()}
        released = [
            (row, why)
            for row in self._assignments.others()
            if row.stage is Stage.LEAVING and (why := self._why_released(current[row.camera]))
        ]
        self._remove([row for row, _ in released])
        return [Change(row.camera, row.node, None, None, row.epoch, why) for row, why in released]

    def _why_released(self, new: Assigned) -> str:
        """Return why the former node of a camera may close it; empty where it may not yet."""
        report, now_s = self._reports.get(new.node), self._clock.now_s()
        if report is None or report.refuses or self._leases.is_silent(new.node, now_s, self._site.lease_s):
            return ""
        if (new.camera, new.epoch) in report.online:
            return f"{new.node} analyses it"
        waited_s = now_s - self._began_s[new.epoch]
        return f"{new.node} could not open it within {HAND_OVER_S:g} s" if waited_s >= HAND_OVER_S else ""

    def _why(self, move: PlannedMove | None, *, is_restarted: bool) -> str:
        if move is None:
            return "the agent of its node was restarted" if is_restarted else "it is back in the site"
        return {
            MoveCause.NEW: "it had no node",
            MoveCause.NODE_LOST: f"{move.from_node} is lost",
            MoveCause.NOT_ALLOWED: f"it may not be placed on {move.from_node} any more",
            MoveCause.DRAIN: f"{move.from_node} is drained",
            MoveCause.OVERLOAD: f"{move.from_node} dropped more than half of its frames for {OVERLOAD_S:g} s",
        }[move.cause]
