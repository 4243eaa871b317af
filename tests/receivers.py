"""Real receivers of events on this machine: a web server and an MQTT broker."""

import json
import os
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import SHUT_RDWR, create_connection, create_server, socket
from time import monotonic, sleep
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tests.slowness import LONGEST_S


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    deadline_s = monotonic() + LONGEST_S
    while not holds():
        assert monotonic() < deadline_s, "it seems to hang"
        sleep(0.02)


@dataclass(frozen=True)
class Authority:
    """A private certificate authority."""

    ca: Path
    """Its certificate, in PEM."""
    server: Path
    """That of a server at 127.0.0.1, with its key."""
    elsewhere: Path
    """That of a server with another name."""
    expired: Path


def authority(folder: Path) -> Authority:
    """Create an authority and certificates, as with manual openssl commands."""
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]

    def openssl(*arguments: str | Path) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    def signed(name: str, subject: str, *until: str) -> Path:
        key, wanted, made = (folder / f"{name}.{suffix}" for suffix in ("key", "csr", "pem"))
        (folder / "names").write_text(f"subjectAltName={subject}")
        openssl("req", "-new", *curve, "-subj", f"/CN={name}", "-keyout", key, "-out", wanted)
        by = ["-CA", ca, "-CAkey", folder / "ca.key", "-CAcreateserial", "-extfile", folder / "names"]
        openssl("x509", "-req", "-in", wanted, *by, *(until or ("-days", "2")), "-out", made)
        made.write_bytes(made.read_bytes() + key.read_bytes())
        return made

    ca = folder / "ca.pem"
    openssl("req", "-x509", *curve, "-days", "2", "-subj", "/CN=ours", "-keyout", folder / "ca.key", "-out", ca)
    return Authority(
        ca, signed("server", "IP:127.0.0.1"), signed("elsewhere", "DNS:else.where"), signed("old", "IP:127.0.0.1", "-days", "-1")
    )


@dataclass
class Posts:
    """The posts that a web server received."""

    url: str
    answers: list[int] = field(default_factory=list)
    """Status codes of the next answers; 200 afterwards."""
    delay_s: float = 0.0
    answers_now: threading.Event = field(default_factory=threading.Event)
    """All answers wait while it is cleared."""
    bodies: list[bytes] = field(default_factory=list)
    """Of posts that were answered with 200."""
    headers: list[dict[str, str]] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    """Headers of all posts, also of those that were refused."""
    refused: int = 0

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.bodies]


@contextmanager
def web_receiver(port: int = 0, certificate: Path | None = None) -> Iterator[Posts]:
    """Take posts until the block is left, with TLS where there is a certificate with its key."""

    class Request(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:  # the sender was killed, and no receiver can accept this
                self.close_connection = True
                return
            sleep(posts.delay_s)
            posts.answers_now.wait(LONGEST_S)
            posts.asked.append(dict(self.headers))
            code = posts.answers.pop(0) if posts.answers else 200
            if code == 200:
                posts.headers.append(dict(self.headers))
                posts.bodies.append(body)
            else:
                posts.refused += 1
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Request) as server:
        server.daemon_threads = True
        posts = Posts(f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}/hook/secret-path")
        posts.answers_now.set()
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that do not trust it
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield posts
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def broker(executable: str, folder: Path, port: int, *settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run mosquitto until the block is left; retained messages are kept in the folder between runs."""
    config = folder / "mosquitto.conf"
    lines = [
        f"listener {port} 127.0.0.1",
        "persistence true",
        f"persistence_location {folder}/",
        "autosave_on_changes true",
        "autosave_interval 1",
    ]
    as_root = ["user root"] if os.geteuid() == 0 else []  # otherwise it runs as a user who cannot read the folder
    config.write_text("\n".join([*lines, *as_root, *(settings or ["allow_anonymous true"]), ""]))
    with subprocess.Popen([executable, "-c", str(config)], stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: answers(port))
            yield process
        finally:
            process.kill()


def answers(port: int) -> bool:
    try:
        create_connection(("127.0.0.1", port), 0.2).close()
    except OSError:
        return False
    return True


@dataclass
class Subscriber:
    """The messages that a broker delivered."""

    messages: list[tuple[str, str, bool]] = field(default_factory=list)
    """Topic, text, and whether it was retained."""

    def on(self, topic: str) -> list[str]:
        return [text for each, text, _ in self.messages if each == topic]

    def records(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.on(topic)]


@contextmanager
def subscriber(port: int, topic: str = "maskstream/#", login: tuple[str, str] | None = None) -> Iterator[Subscriber]:
    """Listen until the block is left, through restarts of the broker."""
    received, ready = Subscriber(), threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, "listener", clean_session=False)
    if login is not None:
        client.username_pw_set(*login)
    client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = lambda _c, _u, message: received.messages.append(
        (message.topic, message.payload.decode(), message.retain)
    )
    client.reconnect_delay_set(1, 1)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        assert ready.wait(LONGEST_S)
        yield received
    finally:
        client.disconnect()
        client.loop_stop()


@contextmanager
def old_broker_in_front(port: int, answer: bytes = b"\x20\x02\x00\x01") -> Iterator[int]:
    """Forward connections to a broker; answer MQTT 5 like a broker with MQTT 3.1.1 only. Yields the port.

    Args:
        port: Of the broker.
        answer: The answer to a client of MQTT 5: a CONNACK with `unacceptable protocol version`.
    """

    def serve() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=forward, args=(client,), daemon=True).start()

    def forward(client: socket) -> None:
        with client, suppress(OSError):
            packet = client.recv(4096)
            version = packet[packet.find(b"MQTT") + 4]
            if version == 5:
                client.sendall(answer)
                return
            with create_connection(("127.0.0.1", port)) as behind:
                behind.sendall(packet)
                thread = threading.Thread(target=copy, args=(behind, client), daemon=True)
                thread.start()
                copy(client, behind)

    def copy(one: socket, other: socket) -> None:
        with suppress(OSError):
            while data := one.recv(4096):
                other.sendall(data)
            other.shutdown(SHUT_RDWR)

    with create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            listening.shutdown(SHUT_RDWR)
