"""Puts together who is told of people: files, brokers, addresses."""

from collections.abc import Iterator, Mapping
from typing import Final

from rich.console import Console

from maskstream.cameras import expand
from maskstream.covering import stored_crop
from maskstream.errors import ConfigError
from maskstream.homes import expand_home, state_folder
from maskstream.people.book import EventBook
from maskstream.protocols import Sink
from maskstream.settings import Config, EventsConfig, PerSource
from maskstream.sinks.delivery import Carrier, Delivery
from maskstream.sinks.events import EventSink, JsonlEvents
from maskstream.sinks.outbox import Outbox
from maskstream.types import Face, Output

_BYTES_PER_MB: Final = 1_000_000


class Reporting:
    """The sinks that tell of people, and the book that they share."""

    def __init__(self, config: Config, by_source: Mapping[str, Config]) -> None:
        """Begin without sinks.

        Args:
            config: What is worth telling, whom, and what may be stored of a face.
            by_source: The same for sources that differ, by their names.

        Raises:
            ConfigError: An address is wrong, or a variable of the environment is not set.
        """
        self._config = config
        self._carriers = _carriers(config.events)
        self._queue = _queue(config.events.queue) if self._carriers else ""
        self._privacy = PerSource(lambda own: own.privacy, config, by_source)
        self._book = EventBook(config, by_source, self._crop)

    def set_source(self, source_id: str, config: Config) -> None:
        """Let a source have settings of its own."""
        if config.privacy != self._privacy.of(source_id):
            self._book.forget_crops(source_id)
        self._privacy.set(source_id, config)
        self._book.set_source(source_id, config)

    def _crop(self, output: Output, face: Face) -> bytes | None:
        return stored_crop(output, face, self._privacy.of(output.frame.source_id))

    def require_people(self, events: str | None, summary: str | None) -> None:
        """Refuse to tell of people where nobody is tracked.

        Raises:
            ConfigError: Somebody wants to be told.
        """
        if (events or summary or self._carriers) and not self._config.tracking.enabled:
            raise ConfigError("tracking.enabled: false, but events and the summary are of people; set it to true")

    def sinks(self, events: str | None, summary: str | None, console: Console | None, *, anew: bool = False) -> Iterator[Sink]:
        """Open one sink after the other.

        Args:
            events: A file of JSON lines, or None.
            summary: A JSON file, or None.
            console: Where the table of the summary goes.
            anew: Whether the file of events is replaced where there is one; it is continued otherwise.

        Raises:
            SinkError: A file cannot be written.
        """
        if self._carriers:
            outbox = Outbox(self._queue, round(self._config.events.queue_mb * _BYTES_PER_MB))
            for carrier in self._carriers:
                yield EventSink(self._book, Delivery(carrier, outbox))
        if events is not None:
            yield EventSink(self._book, JsonlEvents(events, "w" if anew else "a"))
        if summary is not None:
            from maskstream.sinks.summary import SummarySink

            yield SummarySink(summary, self._book, console)


def _carriers(events: EventsConfig) -> list[Carrier]:
    """Return whom to deliver to over a network; nothing is opened yet."""
    carriers: list[Carrier] = []
    if events.mqtt is not None:
        from maskstream.sinks.mqtt import Mqtt

        carriers.append(Mqtt(expand(events.mqtt, "events.mqtt")))
    if events.webhooks:
        from maskstream.sinks.webhook import Webhook

        for hook in events.webhooks:
            secret = None if hook.secret is None else expand(hook.secret, "events.webhooks: secret")
            carriers.append(Webhook(expand(hook.url, "events.webhooks: url"), secret))
    keys = [carrier.key for carrier in carriers]
    if len(set(keys)) < len(keys):
        raise ConfigError("events.webhooks: an address is given twice; give each once")
    return carriers


def _queue(given: str | None) -> str:
    """Return where events wait for their receivers.

    Raises:
        ConfigError: There is no folder that outlasts the program.
    """
    folder = state_folder()
    path = expand_home(given) if given is not None else None if folder is None else str(folder / "events.db")
    if path is None or path.startswith("~"):
        raise ConfigError(
            f"events.queue: {given or 'not set'}, and there is no home folder; set it to a file that outlasts the run"
        )
    return path
