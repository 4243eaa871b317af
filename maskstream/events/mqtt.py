"""Publish records to an MQTT broker, and whether each camera is online."""

from threading import Lock
from time import monotonic
from typing import Final

from maskstream.events.messages import QueuedMessage
from maskstream.events.mqtt_broker import Broker, BrokerState
from maskstream.events.mqtt_connection import CameraConnection
from maskstream.io.files import plain_text
from maskstream.stream.states import SourceState, StateChange

_CLOSING_S: Final = 0.3


class Mqtt:
    """Publishes events to `maskstream/CAMERA/events` and counts to `maskstream/CAMERA/counts`, at least once.

    `maskstream/CAMERA/status` is `online` or `offline`, retained. The last will of a connection publishes `offline` when the
    program is killed. A connection has only one last will, so each camera has its own connection. The protocol is MQTT 5, which
    reports refused messages, or MQTT 3.1.1 where the broker supports nothing else.
    """

    def __init__(self, url: str, name: str | None = None, ca_file: str | None = None) -> None:
        """Parse the address; each camera connects with its first message or state.

        Args:
            url: `events.mqtt`, an mqtt:// or mqtts:// address.
            name: `events.mqtt_name`: of the broker, in the log and in the outbox; None: host and port.
            ca_file: `events.ca_file`: certificates to trust besides those of the system.

        Raises:
            ConfigError: The address or the file cannot be used.
        """
        broker = Broker.of(url, ca_file)
        address = f"{broker.host}:{broker.port}"
        self.key = f"mqtt {address}" if name is None else f"mqtt named {name}"
        self.former_keys: tuple[str, ...] = () if name is None else (f"mqtt {address}",)
        self.name = f"MQTT broker {address if name is None else name}"
        self._state = BrokerState(broker, self.name)
        self._cameras: dict[str, CameraConnection] = {}
        self._lock = Lock()

    def send(self, message: QueuedMessage) -> None:
        """Publish a message, and wait for the acknowledgement of the broker."""
        self._camera(message.camera).publish(message)

    def state_changed(self, change: StateChange) -> None:
        """Publish whether a camera is online."""
        status = "online" if change.state is SourceState.ONLINE else "offline"
        self._camera(plain_text(change.source_id)).publish_status(status)

    def close(self) -> None:
        """Publish that all cameras are offline, and disconnect."""
        with self._lock:
            cameras = list(self._cameras.values())
        for camera in cameras:
            camera.publish_status("offline")
        deadline_s = monotonic() + _CLOSING_S
        threads = [camera.close(max(0.0, deadline_s - monotonic())) for camera in cameras]
        for thread in threads:
            thread.join(max(0.0, deadline_s - monotonic()))

    def _camera(self, name: str) -> CameraConnection:
        with self._lock:
            if name not in self._cameras:
                self._cameras[name] = CameraConnection(self._state, name)
            return self._cameras[name]
