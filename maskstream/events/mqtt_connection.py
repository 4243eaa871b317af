"""The connection of one camera to an MQTT broker: reconnect, fall back to MQTT 3.1.1, publish, report refusals."""

import sys
from contextlib import suppress
from threading import Event, RLock, Thread
from typing import Any, Final
from uuid import uuid4

import paho.mqtt.client as mqtt
from loguru import logger
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from maskstream.events.delivery import NotDelivered
from maskstream.events.endpoints import explain_failure
from maskstream.events.messages import QueuedMessage
from maskstream.events.mqtt_broker import (
    UNSUPPORTED_VERSION,
    BrokerState,
    connection_refusal,
    is_of_topic,
    topic_level,
    topic_refusal,
)

_AT_LEAST_ONCE: Final = 1
_KEEPALIVE_S: Final = 15
_CONNECT_TIMEOUT_S: Final = 3.0
_ACKNOWLEDGE_TIMEOUT_S: Final = 10.0
_LONGEST_WAIT_S: Final = 30
_HEADER_BYTES: Final = 64
"""More than MQTT adds to topic and body."""


class CameraConnection:
    """Keeps one camera connected; paho runs it in a thread."""

    def __init__(self, state: BrokerState, name: str) -> None:
        """Begin to connect.

        Args:
            state: Shared by all cameras.
            name: Of the camera.
        """
        self._state = state
        self._topic = f"maskstream/{topic_level(name)}"
        self._status = "offline"
        self._status_message: mqtt.MQTTMessageInfo | None = None
        self._refused: dict[int, Any] = {}
        """Reason codes of messages that the broker has refused, by message id."""
        self._unacknowledged: tuple[str, mqtt.MQTTMessageInfo] | None = None
        """Key and state of the record that paho has, and sends again by itself."""
        self._failure = "no connection yet"
        """Why there is no connection; empty while there is one."""
        self._has_tried = Event()
        self._was_answered = False
        self._max_bytes = sys.maxsize
        self._unanswered_count = 0
        """How often in a row the broker has closed the connection without an answer."""
        self._closing = Event()
        self._lock = RLock()
        self._client = self._create_client(state.version)
        self._client.loop_start()

    def _create_client(self, version: MQTTProtocolVersion) -> mqtt.Client:
        """Return a client that connects when its thread starts, and reconnects whenever the connection is lost."""
        broker = self._state.broker
        client = mqtt.Client(CallbackAPIVersion.VERSION2, f"maskstream-{uuid4().hex[:12]}", protocol=version)
        client.suppress_exceptions, client.on_log = True, self._log  # an exception in a callback would end the thread
        if broker.user is not None:
            client.username_pw_set(broker.user, broker.password)
        if broker.tls is not None:
            client.tls_set_context(broker.tls)
        client.will_set(f"{self._topic}/status", "offline", _AT_LEAST_ONCE, retain=True)
        client.reconnect_delay_set(1, _LONGEST_WAIT_S)
        client.on_connect, client.on_disconnect = self._connected, self._disconnected
        client.on_connect_fail, client.on_publish = self._not_connected, self._published
        client.connect_async(broker.host, broker.port, _KEEPALIVE_S)
        return client

    def publish_status(self, status: str) -> None:
        """Publish the status now, or when the connection is made."""
        with self._lock:
            self._status = status
            if self._client.is_connected():
                self._status_message = self._client.publish(f"{self._topic}/status", status, _AT_LEAST_ONCE, retain=True)
                self._log_refused_status(self._status_message)

    def publish(self, message: QueuedMessage) -> None:
        """Publish a record and wait for the acknowledgement of the broker.

        Raises:
            NotDelivered: The broker has not acknowledged it.
        """
        self._has_tried.wait(_CONNECT_TIMEOUT_S)
        client, topic = self._client, f"{self._topic}/{message.channel[1]}"
        if not client.is_connected():
            self._start(client, 0.0)  # does nothing while its thread runs
            raise NotDelivered(self._failure)
        size = len(message.body) + len(topic.encode()) + _HEADER_BYTES
        if size > self._max_bytes:
            raise NotDelivered(f"the broker accepts at most {self._max_bytes} bytes, the record has {size}", is_final=True)
        if self._unacknowledged is None or self._unacknowledged[0] != message.key:
            self._unacknowledged = message.key, client.publish(topic, message.body, _AT_LEAST_ONCE)
        info = self._unacknowledged[1]
        try:
            info.wait_for_publish(_ACKNOWLEDGE_TIMEOUT_S)
            is_published = info.is_published()
        except (RuntimeError, ValueError) as error:  # raised by paho for a lost connection or a full queue
            self._unacknowledged = None
            raise NotDelivered(str(error)) from error
        if not is_published:
            raise NotDelivered(f"no acknowledgement within {_ACKNOWLEDGE_TIMEOUT_S:.0f} s")
        self._unacknowledged = None
        reason = self._refused.pop(info.mid, None)
        if reason is not None:
            raise NotDelivered(topic_refusal(reason, topic), is_of_channel=is_of_topic(reason))

    def close(self, time_left_s: float) -> Thread:
        """Disconnect when the status is published, or after `time_left_s`.

        Returns:
            A thread that ends when the thread of the connection has ended.
        """
        with self._lock:
            self._closing.set()
        try:
            if self._status_message is not None and self._client.is_connected():
                self._status_message.wait_for_publish(time_left_s)
        except (RuntimeError, ValueError) as error:
            logger.debug("{}: the status could not be published: {}", self._state.name, error)
        finally:
            self._client.disconnect()
        thread = Thread(target=_stop, args=(self._client,), name=f"close {self._topic}", daemon=True)
        thread.start()
        return thread

    # The methods below are called by the thread of paho.

    def _connected(self, client: mqtt.Client, _data: object, _flags: object, reason: Any, properties: Any) -> None:
        self._was_answered = True
        if client is not self._client:
            return
        if not reason.is_failure:
            self._failure, self._unanswered_count = "", 0
            self._max_bytes = getattr(properties, "MaximumPacketSize", sys.maxsize)
            self._state.connected(client.protocol)
            self._has_tried.set()
            self.publish_status(self._status)
        elif reason.value == UNSUPPORTED_VERSION and client.protocol is MQTTProtocolVersion.MQTTv5:
            self._change_version(MQTTProtocolVersion.MQTTv311)
        else:
            self._failed(connection_refusal(reason))

    def _disconnected(self, client: mqtt.Client, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        if client is not self._client or not reason.is_failure:
            return
        if self._was_answered:
            self._was_answered = False
            if self._failure == "":
                self._failed(f"the connection was lost ({reason})")
            return
        self._failed(
            "the broker closed the connection without an answer; check that the port speaks MQTT, and whether it requires TLS"
        )
        if self._state.supports_mqtt_5:
            return
        if client.protocol is MQTTProtocolVersion.MQTTv5:  # some old brokers close the connection for this version
            self._change_version(MQTTProtocolVersion.MQTTv311)  # at once, while the same broker listens
            return
        self._change_version(MQTTProtocolVersion.MQTTv5, after_s=min(2.0**self._unanswered_count, _LONGEST_WAIT_S))
        self._unanswered_count = min(self._unanswered_count + 1, 8)

    def _not_connected(self, client: mqtt.Client, _data: object) -> None:
        error = sys.exception()  # paho calls this while it handles the error
        if client is self._client:
            self._failed("the broker cannot be reached" if error is None else explain_failure(error))

    def _published(self, _client: mqtt.Client, _data: object, mid: int, reason: Any, _properties: object) -> None:
        if reason.is_failure:
            self._refused[mid] = reason
            if self._status_message is not None and self._status_message.mid == mid:
                self._log_refused_status(self._status_message)

    def _log_refused_status(self, status: mqtt.MQTTMessageInfo) -> None:
        """Log that the broker has refused a status. The answer may come before or after the message id is known."""
        reason = self._refused.pop(status.mid, None)
        if reason is not None:
            logger.warning("{}: {}", self._state.name, topic_refusal(reason, f"{self._topic}/status"))

    def _log(self, _client: mqtt.Client, _data: object, level: int, text: str) -> None:
        if level == mqtt.MQTT_LOG_ERR and text.startswith("Caught exception"):
            logger.error("{}: {}", self._state.name, text)

    def _failed(self, reason: str) -> None:
        self._failure = reason
        self._state.failed(reason)
        self._has_tried.set()

    def _change_version(self, version: MQTTProtocolVersion, after_s: float = 0.0) -> None:
        """Replace the client by one of another version; the present one ends when its callback returns."""
        with self._lock:
            if self._closing.is_set():
                return
            former, self._unacknowledged, self._was_answered = self._client, None, False
            self._state.version = version
            self._client = self._create_client(version)
        former.disconnect()
        _stop(former)
        Thread(target=self._start, args=(self._client, after_s), name=f"connect {self._topic}", daemon=True).start()

    def _start(self, client: mqtt.Client, after_s: float) -> None:
        self._closing.wait(after_s)
        with self._lock:  # two calls at once would start two threads, which wait for each other
            if client is self._client and not self._closing.is_set():
                client.loop_start()


def _stop(client: mqtt.Client) -> None:
    """End the thread of a client. `disconnect` alone does not end it while it is connecting."""
    with suppress(AttributeError):  # the thread has ended meanwhile
        client.loop_stop()
