"""The store and the dashboard of the supervisor of a site."""

from collections.abc import Callable, Iterator

from maskstream.cli.reporting import Reporting
from maskstream.config.schema import Config
from maskstream.events.sink import Receiver
from maskstream.fleet.assignments import Assignments
from maskstream.fleet.status import FleetStatus


class FleetWeb:
    """The store and the dashboard, where the settings request them."""

    def __init__(self, config: Config) -> None:
        """Open the port and the store."""
        self._config = config

    def receivers(self) -> Iterator[Receiver]:
        """Yield the receivers that fill the store and the pages."""
        yield from ()

    def start(self, status: Callable[[], FleetStatus], assignments: Assignments, reporting: Reporting) -> None:
        """Serve the dashboard."""

    def close(self) -> None:
        """End the dashboard and close the store."""
