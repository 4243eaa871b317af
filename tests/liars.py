"""Peers on this machine that claim and send what no camera would, for tests of what that may cost."""

import re
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from socket import create_server, socket
from time import monotonic

from tests.slowness import LONGEST_S

Lie = Callable[["Caller"], None]
"""Answers one request; returns to be asked again on the same connection, raises `ConnectionError` to close it."""
_FLOOD = b"a" * 65536


class Caller:
    """A client that asks."""

    def __init__(self, connection: socket, number: int, port: int, stopped: threading.Event) -> None:
        self._connection = connection
        self._stopped = stopped
        self.number = number
        """Of the connection, counted from 0."""
        self.port = port
        """Of the server."""
        self.method = self.path = self.head = ""

    def asks(self) -> bool:
        """Wait for a request; return whether there is one."""
        received = b""
        while b"\r\n\r\n" not in received:
            piece = self._connection.recv(4096)
            if not piece:
                return False
            received += piece
        self.head = received.decode(errors="replace")
        self.method, self.path, *_ = self.head.split(" ", 2)
        return True

    def send(self, text: str | bytes) -> None:
        self._connection.sendall(text.encode() if isinstance(text, str) else text)

    def flood(self, piece: bytes = _FLOOD) -> None:
        """Send without end."""
        while not self._stopped.is_set():
            self._connection.sendall(piece)

    def trickle(self, piece: bytes) -> None:
        """Send a little ten times a second, without end."""
        while not self._stopped.wait(0.1):
            self._connection.sendall(piece)

    def stays(self, for_s: float) -> bool:
        """Wait so long, and throw away what the client says; return False where it leaves, or the server ends."""
        until_s = monotonic() + for_s
        while not self._stopped.is_set():
            said, _, _ = select.select([self._connection], [], [], min(0.1, max(0.0, until_s - monotonic())))
            if said:
                words = self._connection.recv(65536)
                if not words or b"TEARDOWN" in words:
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


class Liar:
    """A running server that lies; it counts its connections."""

    def __init__(self, lie: Lie) -> None:
        self.connections = 0
        self.requests: list[str] = []
        """Method and path of each."""
        self._lie = lie
        self._stopped = threading.Event()
        self._listening = create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._open: list[socket] = []
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "Liar":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        with suppress(OSError), socket() as waking:
            waking.connect(("127.0.0.1", self.port))
        self._thread.join(LONGEST_S)
        self._listening.close()

    def _serve(self) -> None:
        callers: list[threading.Thread] = []
        for number in count():
            connection, _ = self._listening.accept()
            if self._stopped.is_set():
                connection.close()
                break
            self.connections += 1
            self._open.append(connection)
            callers.append(threading.Thread(target=self._answer, args=(connection, number)))
            callers[-1].start()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(2)
        for caller in callers:
            caller.join(LONGEST_S)

    def _answer(self, connection: socket, number: int) -> None:
        caller = Caller(connection, number, self.port, self._stopped)
        with suppress(OSError), connection:
            while caller.asks():
                self.requests.append(f"{caller.method} {caller.path}")
                self._lie(caller)


@contextmanager
def lying(lie: Lie, scheme: str = "http", path: str = "/live") -> Iterator[str]:
    """Tell a lie to all who ask; yields the URL."""
    with Liar(lie) as liar:
        yield f"{scheme}://127.0.0.1:{liar.port}{path}"
