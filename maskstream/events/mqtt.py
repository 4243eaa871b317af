"""Records published to an MQTT broker, and whether each camera is online."""

from threading import Lock
from time import monotonic
from typing import Final

from maskstream.events.messages import QueuedMessage
from maskstream.events.mqtt_connection import Broker, CameraConnection, Link
from maskstream.io.files import plain_text
from maskstream.stream.states import SourceState, StateChange

_LEAVING_S: Final = 0.3


class Mqtt:
    """Publishes to `maskstream/CAMERA/events` (counts of minutes to `maskstream/CAMERA/counts`), at least once.

    `maskstream/CAMERA/status` is `online` or `offline`, retained. The broker itself says `offline` when the program is gone, as
    last will; a connection has only one, so each camera has its own. It speaks MQTT 5, where a broker says what it refuses, and
    MQTT 3.1.1 with brokers that know nothing else.
    """

    def __init__(self, url: str, name: str | None = None, ca_file: str | None = None) -> None:
        """Remember the broker; cameras connect when they are heard of.

        Args:
            url: An mqtt:// or mqtts:// address.
            name: Of the broker, in the log and in the queue; None: it is known by host and port.
            ca_file: Certificates to trust besides the system's.

        Raises:
            ConfigError: The address or the file cannot be used.
        """
        broker = Broker.of(url, ca_file)
        address = f"{broker.host}:{broker.port}"
        self.key = f"mqtt {address}" if name is None else f"mqtt named {name}"
        self.former_keys: tuple[str, ...] = () if name is None else (f"mqtt {address}",)
        self.name = f"MQTT broker {address if name is None else name}"
        self._link = Link(broker, self.name)
        self._cameras: dict[str, CameraConnection] = {}
        self._lock = Lock()

    def send(self, message: QueuedMessage) -> None:
        """Publish a letter, and wait until the broker has it."""
        self._camera(message.camera).publish(message)

    def state_changed(self, change: StateChange) -> None:
        """Publish whether a camera is online."""
        self._camera(plain_text(change.source_id)).say("online" if change.state is SourceState.ONLINE else "offline")

    def close(self) -> None:
        """Say that all cameras are offline, and leave."""
        with self._lock:
            cameras = list(self._cameras.values())
        for camera in cameras:
            camera.say("offline")
        leave_by_s = monotonic() + _LEAVING_S
        for thread in [camera.close(max(0.0, leave_by_s - monotonic())) for camera in cameras]:
            thread.join(max(0.0, leave_by_s - monotonic()))

    def _camera(self, name: str) -> "CameraConnection":
        with self._lock:
            if name not in self._cameras:
                self._cameras[name] = CameraConnection(self._link, name)
            return self._cameras[name]
