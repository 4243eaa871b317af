"""Connect the parts of the supervisor of a site: state, agents, receivers of events, dashboard."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loguru import logger

from maskstream import __version__
from maskstream.cli.fleet_web import FleetWeb
from maskstream.cli.process import Stopper
from maskstream.cli.reporting import Reporting
from maskstream.config.loading import Layer, refine
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.errors import SinkClosed
from maskstream.fleet.agent import NodeSettings
from maskstream.fleet.assignments import Assignments
from maskstream.fleet.collector import Collector
from maskstream.fleet.forwarding import Forwarding, SavingReceiver, forwarded_file
from maskstream.fleet.local_placement import LocalPlacement
from maskstream.fleet.placement import NodeInfo, Placement, WorkerSpec
from maskstream.fleet.site import Site
from maskstream.fleet.site_lock import site_lock, take_requests
from maskstream.fleet.site_watch import SiteWatch
from maskstream.fleet.supervisor import SiteParts, Supervisor
from maskstream.fleet.wire import SettingsLayers
from maskstream.io.files import readable_by
from maskstream.sinks import StatusSink
from maskstream.stream.states import SILENT, StateChange

_TARGET = "maskstream.cli.fleet_agent:FleetAgent"


@dataclass(frozen=True)
class FleetRequest:
    """What a user requests of a fleet besides the site."""

    file: Path
    """The file of the site."""
    base: Config
    """The configuration below the settings of the site."""
    config: tuple[Layer, ...]
    """The layer of --config, where it is given."""
    command_line: tuple[Layer, ...]
    ray: str | None
    """The address of a Ray cluster; None for agents on this machine."""
    nodes: int
    """The number of agents on this machine."""
    events: str | None
    status: str | None
    log_level: str

    def settings_of(self, site: Site) -> NodeSettings:
        """Return the configuration of the nodes: that of --config, the settings of the site, the command line."""
        return NodeSettings(_for_nodes([*self.config, self.site_layer(site)]), _for_nodes(self.command_line))

    def site_layer(self, site: Site) -> Layer:
        """Return the settings of the site."""
        return Layer(f"{self.file}: settings", site.settings)


def _for_nodes(layers: Sequence[Layer]) -> SettingsLayers:
    """Return the layers without receivers of events, store and dashboard: their passwords stay here."""
    return tuple((layer.origin, _without_receivers(layer.values)) for layer in layers)


def _without_receivers(values: Mapping[str, Any]) -> dict[str, Any]:
    kept = {section: value for section, value in values.items() if section not in ("web", "store")}
    if isinstance(kept.get("events"), Mapping):
        kept["events"] = {key: value for key, value in kept["events"].items() if key not in ("mqtt", "webhooks")}
    return kept


def lead(site: Site, request: FleetRequest, stopper: Stopper) -> None:
    """Lead a site until a signal arrives; then end its agents in order.

    Raises:
        MaskStreamError: Something cannot be opened, another supervisor leads the site, or the disk is full. The agents go on.
    """
    config = refine(request.base, request.site_layer(site), *request.command_line)
    stop = _Stop()
    with readable_by(config.privacy.readable_by), site_lock(site.folder, site.name), ExitStack() as closing:
        assignments = Assignments(site.folder)
        closing.callback(assignments.close)
        collector = Collector(site.folder)
        closing.callback(collector.close)
        web = FleetWeb(config)
        closing.callback(web.close)
        reporting = Reporting(SourceSettings(config))
        reporting.require_people("events", None)
        receivers = _receivers(request, collector, reporting, web)
        forwarding = Forwarding(collector, receivers)
        closing.callback(forwarding.close)
        states = _States(request.status, receivers, web)
        closing.callback(states.close)
        site = site.of_generation(assignments.next_generation())
        watch = SiteWatch(request.file, request.base, assignments.next_generation, command_line=request.command_line)
        parts = SiteParts(
            placement=closing.enter_context(_placement(site, request)),
            spec=lambda node: _spec(node, site, request),
            assignments=assignments,
            collector=collector,
            forward=forwarding.step,
            state_changed=states.changed,
            poll_site=lambda: _polled(site, watch, assignments, supervisor),
            settings_of=request.settings_of,
        )
        supervisor = Supervisor(site, parts)
        web.start(supervisor, assignments, reporting)
        stopper.engine = stop
        logger.info("{}: generation {}, {} cameras", site.name, site.generation, len(site.cameras))
        try:
            supervisor.run(lambda: stop.is_stopped)
        except SinkClosed as closed:
            logger.info("{}", closed)
        supervisor.close()


def _receivers(request: FleetRequest, collector: Collector, reporting: Reporting, web: FleetWeb) -> list[SavingReceiver]:
    """Open the receivers of events; where one cannot be opened, the others are closed again."""
    with ExitStack() as closing:
        receivers: list[SavingReceiver] = []
        for delivery in reporting.network_receivers(events_continue=True):
            receivers.append(delivery)
            closing.callback(delivery.close)
        if request.events is not None:
            receivers.append(forwarded_file(request.events, collector))
            closing.callback(receivers[-1].close)
        receivers += web.receivers()
        closing.pop_all()
    return receivers


def _polled(site: Site, watch: SiteWatch, assignments: Assignments, supervisor: Supervisor) -> Site | None:
    """Do what other commands requested of the site, and return it after an edit."""
    for kind, node in take_requests(site.folder):
        names = [each.name for each in supervisor.status().nodes]
        if node not in names:
            logger.warning("{}: there is no such node yet; there are {}", node, ", ".join(names) or "none")
        else:
            logger.info("{}: {}", node, "its cameras move away" if kind == "drain" else "it gets cameras again")
        (assignments.drain if kind == "drain" else assignments.undrain)(node)
    return watch.poll()


@contextmanager
def _placement(site: Site, request: FleetRequest) -> Iterator[Placement]:
    if request.ray is None:
        names = ["local"] if request.nodes == 1 else [f"local-{number}" for number in range(1, request.nodes + 1)]
        with LocalPlacement(site.folder / "agents", names) as local:
            yield local
        return
    from maskstream.fleet.ray_placement import RayPlacement

    with RayPlacement(request.ray) as cluster:
        yield cluster


def _spec(node: NodeInfo, site: Site, request: FleetRequest) -> WorkerSpec:
    """Return the agent of a node. It has all cores of the machine, and a GPU where there is one.

    With Ray, which limits the threads to the cores, its records stay in the folder for state of the user on that machine.
    """
    arguments = {
        "node": node.name,
        "site": site.name,
        "folder": None if request.ray else str(site.folder.absolute() / "nodes" / node.name),
        "version": __version__,
        "log_level": request.log_level,
    }
    return WorkerSpec(
        f"{site.name}.{node.name}",
        _TARGET,
        arguments,
        cpus=max(1.0, node.cpus),
        gpus=min(1.0, node.gpus),
        node=node.name,
        outlives=True,
    )


class _States:
    """Passes the states of the cameras on: to the log, --status, the receivers of events and the dashboard."""

    def __init__(self, status: str | None, receivers: Sequence[SavingReceiver], web: FleetWeb) -> None:
        self._status = None if status is None else StatusSink(status, "a")
        self._receivers = receivers
        self._web = web

    def changed(self, change: StateChange) -> None:
        """Pass on a change."""
        level = "WARNING" if change.state in SILENT else "INFO"
        logger.log(level, "{}: {}: {}", change.source_id, change.state.value, change.cause)
        if self._status is not None:
            self._status.state_changed(change)
        for receiver in self._receivers:
            receiver.state_changed(change)
        self._web.state_changed(change)

    def close(self) -> None:
        """Close the file of --status."""
        if self._status is not None:
            self._status.close()


class _Stop:
    """Is stopped by a signal handler, in which locks could block."""

    def __init__(self) -> None:
        self.is_stopped = False

    def stop(self) -> None:
        """Let the supervisor end after this turn."""
        self.is_stopped = True
