"""Connect the parts of the supervisor of a site: state, agents, receivers of events, dashboard."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from loguru import logger

from maskstream import __version__
from maskstream.cli.fleet_web import FleetWeb
from maskstream.cli.process import Stopper
from maskstream.cli.reporting import Reporting
from maskstream.config.loading import Layer, load_config
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.fleet.agent import NodeSettings
from maskstream.fleet.assignments import Assignments
from maskstream.fleet.collector import Collector
from maskstream.fleet.forwarding import Forwarder
from maskstream.fleet.local_placement import LocalPlacement
from maskstream.fleet.placement import Placement, WorkerSpec
from maskstream.fleet.site import Site
from maskstream.fleet.site_lock import site_lock, take_requests
from maskstream.fleet.site_watch import SiteWatch
from maskstream.fleet.supervisor import SiteParts, Supervisor
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
    config_file: Path | None
    command_line: tuple[Layer, ...]
    ray: str | None
    nodes: int
    events: str | None
    status: str | None
    log_level: str

    def settings_of(self, site: Site) -> NodeSettings:
        """Return the configuration of the nodes: that of --config, the settings of the site, the command line."""
        layers = [] if self.config_file is None else [Layer.of_file(self.config_file)]
        layers.append(Layer(f"{self.file}: settings", site.settings))
        return NodeSettings(_plain(layers), _plain(self.command_line))


def _plain(layers: Sequence[Layer]) -> tuple[tuple[str, dict[str, object]], ...]:
    return tuple((layer.origin, dict(layer.values)) for layer in layers)


def lead(site: Site, request: FleetRequest, stopper: Stopper) -> None:
    """Lead a site until a signal arrives; then end its agents in order.

    Raises:
        MaskStreamError: Something cannot be opened, another supervisor leads the site, or the disk is full. The agents go on.
    """
    layers = [Layer(f"{request.file}: settings", site.settings), *request.command_line]
    config = load_config(request.config_file, layers)
    stop = _Stop()
    with readable_by(config.privacy.readable_by), site_lock(site.folder, site.name), ExitStack() as closing:
        assignments = Assignments(site.folder)
        closing.callback(assignments.close)
        site = site.of_generation(assignments.next_generation())
        collector = Collector(site.folder)
        closing.callback(collector.close)
        web = FleetWeb(config)
        closing.callback(web.close)
        reporting = Reporting(SourceSettings(config))
        receivers = [*reporting.receivers(request.events), *web.receivers()]
        for receiver in receivers:
            closing.callback(receiver.close)
        states = [receiver.state_changed for receiver in receivers]
        if request.status is not None:
            status = StatusSink(request.status, "a")
            closing.callback(status.close)
            states.append(status.state_changed)
        forwarder = Forwarder(collector, receivers)
        placement = closing.enter_context(_placement(site, request))
        watch = SiteWatch(request.file, request.base, assignments.next_generation, command_line=request.command_line)

        def state_changed(change: StateChange) -> None:
            logger.log(
                "WARNING" if change.state in SILENT else "INFO", "{}: {}: {}", change.source_id, change.state, change.cause
            )
            for each in states:
                each(change)

        def poll_site() -> Site | None:
            for kind, node in take_requests(site.folder):
                (assignments.drain if kind == "drain" else assignments.undrain)(node)
                logger.info("{}: {}", node, "its cameras move away" if kind == "drain" else "it gets cameras again")
            return watch.poll()

        parts = SiteParts(
            placement=placement,
            spec=lambda node: _spec(node, site, request),
            assignments=assignments,
            collector=collector,
            forward=forwarder.forward,
            state_changed=state_changed,
            poll_site=poll_site,
            settings_of=request.settings_of,
        )
        supervisor = Supervisor(site, parts)
        web.start(supervisor.status, assignments, reporting)
        stopper.engine = stop
        logger.info("{}: generation {}, {} cameras, {} nodes", site.name, site.generation, len(site.cameras), request.nodes)
        supervisor.run(lambda: stop.is_stopped)
        supervisor.close()


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


def _spec(node: str, site: Site, request: FleetRequest) -> WorkerSpec:
    """Return the agent of a node. With Ray, its records stay in the folder for state of the user on that machine."""
    folder = None if request.ray else str(site.folder / "nodes" / node)
    arguments = {
        "node": node,
        "site": site.name,
        "folder": folder,
        "version": __version__,
        "log_level": request.log_level,
    }
    return WorkerSpec(f"{site.name}.{node}", _TARGET, arguments, node=node, outlives=True)


class _Stop:
    """Is stopped by a signal handler, in which locks could block."""

    def __init__(self) -> None:
        self.is_stopped = False

    def stop(self) -> None:
        """Let the supervisor end after this turn."""
        self.is_stopped = True
