"""Servers on this machine that send and claim impossible things, for tests of limits."""

import re
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from socket import create_server, socket
from time import monotonic

from tests.slowness import LONGEST_S

FaultyAnswer = Callable[["Client"], None]
"""Answers one request. It returns to get the next request of the connection, or raises `ConnectionError` to close it."""
_FLOOD = b"a" * 65536


class Client:
    """A connected client."""

    def __init__(self, connection: socket, number: int, port: int, stopped: threading.Event) -> None:
        self._connection = connection
        self._stopped = stopped
        self.number = number
        """Number of the connection, from 0."""
        self.port = port
        """Port of the server."""
        self.method = self.path = self.head = ""

    def sends_request(self) -> bool:
        """Wait for a request; return whether one has arrived."""
        received = b""
        while b"\r\n\r\n" not in received:
            chunk = self._connection.recv(4096)
            if not chunk:
                return False
            received += chunk
        self.head = received.decode(errors="replace")
        self.method, self.path, *_ = self.head.split(" ", 2)
        return True

    def send(self, text: str | bytes) -> None:
        self._connection.sendall(text.encode() if isinstance(text, str) else text)

    def flood(self, chunk: bytes = _FLOOD) -> None:
        """Send data without limit."""
        while not self._stopped.is_set():
            self._connection.sendall(chunk)

    def trickle(self, chunk: bytes) -> None:
        """Send a little data ten times a second without limit."""
        while not self._stopped.wait(0.1):
            self._connection.sendall(chunk)

    def stays(self, for_s: float) -> bool:
        """Wait and discard what the client sends; return False if it disconnects, or the server ends."""
        until_s = monotonic() + for_s
        while not self._stopped.is_set():
            ready, _, _ = select.select([self._connection], [], [], min(0.1, max(0.0, until_s - monotonic())))
            if ready:
                data = self._connection.recv(65536)
                if not data or b"TEARDOWN" in data:
                    return False
            elif monotonic() >= until_s:
                return True
        return False

    def rtsp(self, status: str, *headers: str, body: str = "") -> None:
        """Answer in RTSP."""
        number = re.search(r"(?im)^cseq:\s*(\d+)", self.head)
        lines = [f"RTSP/1.0 {status}", f"CSeq: {number[1] if number else 0}", *headers]
        self.send("\r\n".join([*lines, "", body]))

    def http(self, *headers: str, body: str | bytes = b"") -> None:
        """Answer in HTTP, and close the connection."""
        content = body.encode() if isinstance(body, str) else body
        lines = ["HTTP/1.1 200 OK", *headers, f"Content-Length: {len(content)}", "Connection: close"]
        self.send("\r\n".join([*lines, "", ""]))
        self.send(content)
        raise ConnectionResetError


class FaultyServer:
    """A running server with faulty answers; it counts its connections."""

    def __init__(self, answer: FaultyAnswer) -> None:
        self.connections = 0
        self.requests: list[str] = []
        """Method and path of each request."""
        self._answer_client = answer
        self._stopped = threading.Event()
        self._listening = create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._open: list[socket] = []
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "FaultyServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        with suppress(OSError), socket() as waking:
            waking.connect(("127.0.0.1", self.port))
        self._thread.join(LONGEST_S)
        self._listening.close()

    def _serve(self) -> None:
        clients: list[threading.Thread] = []
        for number in count():
            connection, _ = self._listening.accept()
            if self._stopped.is_set():
                connection.close()
                break
            self.connections += 1
            self._open.append(connection)
            clients.append(threading.Thread(target=self._answer, args=(connection, number)))
            clients[-1].start()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(2)
        for client in clients:
            client.join(LONGEST_S)

    def _answer(self, connection: socket, number: int) -> None:
        client = Client(connection, number, self.port, self._stopped)
        with suppress(OSError), connection:
            while client.sends_request():
                self.requests.append(f"{client.method} {client.path}")
                self._answer_client(client)


@contextmanager
def faulty_server(answer: FaultyAnswer, scheme: str = "http", path: str = "/live") -> Iterator[str]:
    """Give a faulty answer to all clients; yields the URL."""
    with FaultyServer(answer) as server:
        yield f"{scheme}://127.0.0.1:{server.port}{path}"
