"""`maskstream fleet`: watch the cameras of a site with several machines, and place them anew when a machine is lost."""

import argparse
from pathlib import Path

from maskstream.cli.parser import (
    DEFAULT_LISTEN,
    RAY_HELP,
    add_config_options,
    add_log_options,
    add_model_options,
    at_least,
    layers,
    require_options,
)
from maskstream.cli.process import Stopper, start_log
from maskstream.cli.run import EVENTS_HELP, WEB_HELP

SITE_HELP = "YAML file of the site: its cameras, and how they are placed; edits apply while the program runs"
NODES_HELP = "number of agents on this machine without --ray; default: 1. More than one is for trials"
DRAIN_HELP = "ask the running maskstream fleet of this site to move all cameras away from a node, and exit"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a fleet."""
    site = parser.add_argument_group("site")
    site.add_argument("--site", type=Path, metavar="FILE", help=SITE_HELP)
    site.add_argument("--ray", metavar="ADDRESS", help=RAY_HELP)
    site.add_argument("--nodes", type=at_least(1), default=1, metavar="N", help=NODES_HELP)
    site.add_argument("--drain", metavar="NODE", help=DRAIN_HELP)
    site.add_argument("--undrain", metavar="NODE", help="ask the running maskstream fleet to use a drained node again, and exit")
    add_config_options(parser.add_argument_group("configuration"))
    outputs = parser.add_argument_group("outputs")
    outputs.add_argument("--events", metavar="PATH", help=EVENTS_HELP)
    outputs.add_argument(
        "--status", metavar="PATH", help="write a JSON record per change of a camera's state; - is standard output"
    )
    outputs.add_argument("--web", nargs="?", const=DEFAULT_LISTEN, metavar="HOST:PORT", help=WEB_HELP)
    models = parser.add_argument_group("models")
    add_model_options(models, ", on each machine")
    models.add_argument("--stride", type=int, metavar="N", help="analyse every Nth frame")
    add_log_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Lead the site until a signal arrives, and return the exit code."""
    stopper = Stopper()
    require_options(arguments, "site")
    from rich.console import Console

    start_log(Console(stderr=True), "ERROR" if arguments.quiet else arguments.log_level)
    from maskstream.config.loading import Layer, load_config
    from maskstream.fleet.site import read_site

    command_line = layers(arguments)
    config = () if arguments.config is None else (Layer.of_file(arguments.config),)
    base = load_config(None, config)
    site = read_site(arguments.site, base, command_line)
    if arguments.drain or arguments.undrain:
        return _ask(arguments, site.folder)
    from maskstream.cli.fleet_run import FleetRequest, lead  # a wrong site is refused before these imports

    request = FleetRequest(
        file=arguments.site,
        base=base,
        config=config,
        command_line=tuple(command_line),
        ray=arguments.ray,
        nodes=arguments.nodes,
        events=arguments.events,
        status=arguments.status,
        log_level="ERROR" if arguments.quiet else arguments.log_level,
    )
    lead(site, request, stopper)
    return 128 + stopper.received if stopper.received else 0


def _ask(arguments: argparse.Namespace, folder: Path) -> int:
    """Leave a request for the supervisor of the site."""
    from maskstream.fleet.site_lock import is_led, request

    if arguments.drain:
        request(folder, ("drain", arguments.drain))
    if arguments.undrain:
        request(folder, ("undrain", arguments.undrain))
    when = "is told" if is_led(folder) else "does not run; it is told when it starts"
    print(f"{arguments.site}: maskstream fleet {when}")
    return 0
