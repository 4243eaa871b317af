"""Open the sinks of events, counts and the summary: files, MQTT brokers, webhooks."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Final

from loguru import logger
from rich.console import Console

from maskstream.config.environment import expand
from maskstream.config.schema import EventsConfig
from maskstream.config.source_settings import SourceSettings
from maskstream.errors import ConfigError, SinkError
from maskstream.events.delivery import Delivery, DeliveryStatus, Transport
from maskstream.events.detector import EventDetector
from maskstream.events.outbox import Outbox
from maskstream.events.outbox_file import peek
from maskstream.events.sink import EventSink, JsonlEvents, Receiver
from maskstream.io.user_folders import expand_home, state_folder
from maskstream.protocols import Sink
from maskstream.rendering.anonymize import stored_crop

if TYPE_CHECKING:
    from maskstream.events.webhook import Webhook

_BYTES_PER_MB: Final = 1_000_000


class Reporting:
    """The sinks of events, counts and the summary, and the event detector that they share."""

    def __init__(
        self, settings: SourceSettings, *, new_id: Callable[[str], str] | None = None, over_network: bool = True
    ) -> None:
        """Begin without sinks.

        Args:
            settings: The receivers, and for each source which labels lead to an event and what may be stored of a face.
            new_id: Returns the id of the next event of a source; None: a random one.
            over_network: Whether the receivers of the settings get the events. False: only files do.

        Raises:
            ConfigError: An address is wrong, or an environment variable is not set.
        """
        self._config = settings.common
        self._transports = _transports(self._config.events) if over_network else []
        self._queue = _queue_path(self._config.events.queue, required=bool(self._transports)) if over_network else ""
        self._deliveries: list[Delivery] = []
        self._detector = EventDetector(
            settings, lambda output, face: stored_crop(output, face, settings.of(output.frame.source_id).privacy), new_id
        )

    def require_people(self, events: str | None, summary: str | None, *, store: bool = False) -> None:
        """Refuse events, a summary and a store where people are not tracked.

        Raises:
            ConfigError: One of them is requested, and `tracking.enabled` is false.
        """
        if (events or summary or store or self._transports) and not self._config.tracking.enabled:
            raise ConfigError("tracking.enabled: false, but events, the summary and the dashboard need tracking; set it to true")

    def sinks(self, events: str | None, summary: str | None, console: Console | None, *, replace: bool = False) -> Iterator[Sink]:
        """Open the sinks in sequence.

        Args:
            events: A file of JSON lines, or None.
            summary: A JSON file, or None.
            console: The console of the summary table.
            replace: Whether an existing file of events is replaced; it is continued otherwise.

        Raises:
            SinkError: A file cannot be written.
        """
        for delivery in self.network_receivers():
            yield self.event_sink(delivery)
        if events is not None:
            yield self.event_sink(JsonlEvents(events, "w" if replace else "a"))
        if summary is not None:
            from maskstream.sinks.summary import SummarySink

            yield SummarySink(summary, self._detector, console)

    def network_receivers(self, *, events_continue: bool = False) -> Iterator[Delivery]:
        """Open the receivers over a network in sequence.

        Args:
            events_continue: Whether the events of a killed run may continue, as those of a fleet, which its nodes end.

        Raises:
            SinkError: The queue cannot be opened.
        """
        if self._transports:
            outbox = Outbox(self._queue, round(self._config.events.queue_mb * _BYTES_PER_MB))
            outbox.attach()  # until all deliveries use it
            try:
                self._claim(outbox)
                for transport in self._transports:
                    delivery = Delivery(transport, outbox, events_continue=events_continue)
                    self._deliveries.append(delivery)
                    yield delivery
            finally:
                outbox.detach()
        elif self._queue and os.path.exists(self._queue):  # noqa: PTH110 (Path raises without permission)
            for receiver, records in peek(Path(self._queue)).items():  # of earlier runs
                logger.info("{}: {} records wait for {}; no receiver is named in this run", self._queue, records, receiver)

    def event_sink(self, receiver: Receiver) -> EventSink:
        """Return a sink that passes events and counts to one more receiver, and closes it."""
        return EventSink(self._detector, receiver)

    @property
    def folders(self) -> tuple[str, ...]:
        """The folder of the queue, where there are receivers."""
        return (str(Path(self._queue).absolute().parent),) if self._transports else ()

    def deliveries(self) -> list[DeliveryStatus]:
        """Return what waits for each network receiver, under different names. May be called from any thread."""
        statuses: list[DeliveryStatus] = []
        names: Counter[str] = Counter()
        for delivery in tuple(self._deliveries):
            status = delivery.status()
            names[status.receiver] += 1
            number = names[status.receiver]  # two unnamed webhooks of one host have the same name
            statuses.append(status if number == 1 else replace(status, receiver=f"{status.receiver} ({number})"))
        return statuses

    def _claim(self, outbox: Outbox) -> None:
        """Assign the records of earlier runs to the receivers of this run, and log those of other receivers."""
        days = self._config.events.unclaimed_days
        keys = {transport.key for transport in self._transports}
        formers = {transport.key: [key for key in transport.former_keys if key not in keys] for transport in self._transports}
        try:
            counts = outbox.claim(formers, time(), days)
        except SinkError as error:  # the disk may be full; the next run tries again
            logger.warning("{}", error)
            return
        for receiver, records in counts.items():
            if records < 0:
                logger.warning("{}: {} records for {} are deleted: no run names it any more", outbox.path, -records, receiver)
            else:
                logger.warning(
                    "{}: {} records wait for {}, which this run does not name; name it again to deliver them; else they are "
                    "deleted after {:g} days, or at once with --set events.unclaimed_days=0",
                    outbox.path,
                    records,
                    receiver,
                    days,
                )


def _transports(events: EventsConfig) -> list[Transport]:
    """Return the transports to all receivers over a network. Nothing is connected yet.

    Raises:
        ConfigError: An address is wrong, or is given twice.
    """
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
    """Return the webhooks. The key of two unnamed ones whose addresses differ in the query only includes the query."""
    from maskstream.events.webhook import Webhook

    hooks = []
    for given in events.webhooks:
        secret = None if given.secret is None else expand(given.secret, "events.webhooks: secret")
        hooks.append(Webhook(expand(given.url, "events.webhooks: url"), secret, given.name, events.ca_file))
    addresses = Counter(hook.address_key for hook in hooks)
    for hook in hooks:
        if hook.key == hook.address_key and addresses[hook.key] > 1:
            hook.key = hook.full_key
    return hooks


def _queue_path(given: str | None, *, required: bool) -> str:
    """Return the file in which records wait for their receivers; an empty text where there is no home folder.

    Raises:
        ConfigError: It is `required`, and there is no home folder.
    """
    folder = state_folder()
    path = ""
    if given is not None:
        path = expand_home(given)
    elif folder is not None:
        path = str(folder / "events.db")
    if path and not path.startswith("~"):
        return path
    if required:
        raise ConfigError(
            f"events.queue: {given or 'not set'}, and there is no home folder; set it to a file that outlasts the run"
        )
    return ""
