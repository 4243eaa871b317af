"""Puts together who is told of people: files, brokers, addresses."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Final

from loguru import logger
from rich.console import Console

from maskstream.config.environment import expand
from maskstream.config.schema import EventsConfig
from maskstream.config.source_settings import SourceSettings
from maskstream.errors import ConfigError, SinkError
from maskstream.events.delivery import Delivery, Transport
from maskstream.events.detector import EventDetector
from maskstream.events.outbox import Outbox, peek
from maskstream.events.sink import EventSink, JsonlEvents
from maskstream.io.user_folders import expand_home, state_folder
from maskstream.protocols import Sink
from maskstream.rendering.anonymize import stored_crop
from maskstream.types import Face, Output

if TYPE_CHECKING:
    from maskstream.events.webhook import Webhook

_BYTES_PER_MB: Final = 1_000_000


class Reporting:
    """The sinks that tell of people, and the book that they share."""

    def __init__(self, settings: SourceSettings) -> None:
        """Begin without sinks.

        Args:
            settings: The receivers, and for each source which labels lead to an event and what may be stored of a face.

        Raises:
            ConfigError: An address is wrong, or a variable of the environment is not set.
        """
        self._settings = settings
        self._config = config = settings.common
        self._carriers = _carriers(config.events)
        self._queue = _required_queue(config.events.queue) if self._carriers else _queue(config.events.queue) or ""
        self._detector = EventDetector(settings, self._crop)

    def _crop(self, output: Output, face: Face) -> bytes | None:
        return stored_crop(output, face, self._settings.of(output.frame.source_id).privacy)

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
            outbox.join()  # until all deliveries use it
            try:
                self._claim(outbox)
                for transport in self._carriers:
                    yield EventSink(self._detector, Delivery(transport, outbox))
            finally:
                outbox.leave()
        else:
            self._look_into_queue()
        if events is not None:
            yield EventSink(self._detector, JsonlEvents(events, "w" if anew else "a"))
        if summary is not None:
            from maskstream.sinks.summary import SummarySink

            yield SummarySink(summary, self._detector, console)

    def _look_into_queue(self) -> None:
        """Say what waits where no receiver is named."""
        if self._queue and os.path.exists(self._queue):  # noqa: PTH110 (Path raises where nobody may look)
            for receiver, records in peek(Path(self._queue)).items():
                logger.info("{}: {} records wait for {}; no receiver is named in this run", self._queue, records, receiver)

    def _claim(self, outbox: Outbox) -> None:
        """Let the receivers have what waits for them, and say what waits for others."""
        days = self._config.events.unclaimed_days
        keys = {transport.key for transport in self._carriers}
        formers = {transport.key: [key for key in transport.former_keys if key not in keys] for transport in self._carriers}
        try:
            counts = outbox.claim(formers, time(), days)
        except SinkError as error:  # the disk may be full: in the next run
            logger.warning("{}", error)
            return
        for receiver, records in counts.items():
            if records < 0:
                logger.warning("{}: {} records for {} are deleted: no run names it any more", outbox.path, -records, receiver)
            else:
                logger.warning(
                    "{}: {} records wait for {}, which this run does not name; name it again and they are delivered, else they "
                    "are deleted after {:g} days, or at once with --set events.unclaimed_days=0",
                    *(outbox.path, records, receiver, days),
                )


def _carriers(events: EventsConfig) -> list[Transport]:
    """Return whom to deliver to over a network; nothing is opened yet."""
    transports: list[Transport] = []
    if events.mqtt is not None:
        from maskstream.events.mqtt import Mqtt

        transports.append(Mqtt(expand(events.mqtt, "events.mqtt"), events.mqtt_name, events.ca_file))
    if events.webhooks:
        transports += _webhooks(events)
    keys = [transport.key for transport in transports]
    repeated = next((transport for transport in transports if keys.count(transport.key) > 1), None)
    if repeated is not None:
        raise ConfigError(f"events.webhooks: {repeated.name} is given twice; give each address once, each name once")
    return transports


def _webhooks(events: EventsConfig) -> list["Webhook"]:
    """Return the addresses to post to; of those without a name that differ in their query alone, the query is part of the key."""
    from maskstream.events.webhook import Webhook

    hooks = []
    for hook in events.webhooks:
        secret = None if hook.secret is None else expand(hook.secret, "events.webhooks: secret")
        hooks.append(Webhook(expand(hook.url, "events.webhooks: url"), secret, hook.name, events.ca_file))
    addresses = Counter(transport.address_key for transport in hooks)
    for transport in hooks:
        if transport.key == transport.address_key and addresses[transport.key] > 1:
            transport.key = transport.full_key
    return hooks


def _queue(given: str | None) -> str | None:
    """Return where events wait for their receivers; None where there is no folder that outlasts the program."""
    folder = state_folder()
    path = expand_home(given) if given is not None else None if folder is None else str(folder / "events.db")
    return None if path is None or path.startswith("~") else path


def _required_queue(given: str | None) -> str:
    """Return where events wait for their receivers.

    Raises:
        ConfigError: There is no folder that outlasts the program.
    """
    path = _queue(given)
    if path is None:
        raise ConfigError(
            f"events.queue: {given or 'not set'}, and there is no home folder; set it to a file that outlasts the run"
        )
    return path
