"""`maskstream dashboard`: show the events of a store, without cameras."""

import argparse
from time import sleep

from maskstream.cli.parser import DEFAULT_LISTEN, add_config_options, add_log_options, layers
from maskstream.cli.process import Stopper, start_log
from maskstream.cli.web import open_store, require_web_packages

_CHECK_S = 0.1


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the dashboard."""
    parser.add_argument("--store", metavar="DIR", help="folder of the store; default: the one of maskstream run")
    parser.add_argument(
        "--web", default=None, metavar="HOST:PORT", help=f"address and port of the dashboard; default: {DEFAULT_LISTEN}"
    )
    add_config_options(parser)
    add_log_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve the dashboard until a signal arrives, and return the exit code."""
    stopper = Stopper()
    from rich.console import Console

    from maskstream.config.loading import load_config

    start_log(Console(stderr=True), "ERROR" if arguments.quiet else arguments.log_level)
    config = load_config(arguments.config, layers(arguments))
    require_web_packages()
    from maskstream.io.files import readable_by
    from maskstream.web.context import WebContext
    from maskstream.web.listening import listen
    from maskstream.web.server import WebServer

    with readable_by(config.privacy.readable_by):
        listener = listen(config.web)
        try:
            with open_store(config) as store:
                server = WebServer(WebContext(store, config), listener)
                server.start()
                stopper.engine = waiting = _Waiting()
                while not waiting.is_stopped and server.is_running:
                    sleep(_CHECK_S)
                server.stop()
        finally:
            listener.socket.close()
    return 128 + stopper.received if stopper.received else 1


class _Waiting:
    """Is stopped by a signal handler, in which locks could block."""

    def __init__(self) -> None:
        self.is_stopped = False

    def stop(self) -> None:
        self.is_stopped = True
