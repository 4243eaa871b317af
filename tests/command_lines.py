"""Command lines as a user types them, in processes that the fork server has ready (`tests/fork_server.py`)."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from socket import AF_UNIX, SOCK_SEQPACKET, send_fds, socket
from typing import Any, AnyStr

from tests.slowness import LONGEST_S

ROOT = Path(__file__).resolve().parents[1]
_SERVER = ROOT / "tests" / "fork_server.py"
_ADDRESS = "MASKSTREAM_FORK_SERVER"
"""The variable that tells all processes that run tests where the server listens."""
HAS_FORK_SERVER = hasattr(os, "pidfd_open")
"""On Linux; elsewhere every process starts from nothing."""
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def fork_server() -> Iterator[None]:
    """Run a fork server for this process and those that it starts; it takes no time before it is first asked."""
    if not HAS_FORK_SERVER:
        yield
        return
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with tempfile.TemporaryDirectory() as folder:
        address = f"{folder}/socket"
        server = subprocess.Popen(
            [sys.executable, str(_SERVER), address],
            env=kept | dict.fromkeys(_ONE_THREAD, "1"),
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        with server:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            os.environ[_ADDRESS] = address
            yield
            del os.environ[_ADDRESS]


class _Forked(subprocess.Popen[AnyStr]):
    """A process like one of `subprocess.Popen`, with its pipes and its waiting, which the fork server has forked.

    Signals, exit codes and `os._exit` are real. What matters only before Python begins (a wrapper such as setpriv, a namespace,
    options of the interpreter) needs `subprocess`. The command begins with `sys.executable`.
    """

    def _execute_child(
        self,
        args: Sequence[str],
        executable: None,
        preexec_fn: None,
        close_fds: bool,
        pass_fds: tuple[int, ...],
        cwd: Path | str | None,
        env: Mapping[str, str] | None,
        startupinfo: None,
        creationflags: int,
        shell: bool,
        *pipes_and_more: Any,
    ) -> None:
        """Ask the server for a process in place of forking; the arguments are those of the base."""
        interpreter, *arguments = map(str, args)
        assert interpreter == sys.executable
        assert (executable, preexec_fn, pass_fds, shell) == (None, None, (), False)
        pipes: tuple[int, ...] = pipes_and_more[:6]
        streams = [number if given == -1 else given for number, given in enumerate((pipes[0], pipes[3], pipes[5]))]
        environment = dict(os.environ if env is None else env)
        asked = {"arguments": arguments, "folder": os.fspath(cwd or Path.cwd()), "environment": environment}
        self._server = socket(AF_UNIX, SOCK_SEQPACKET)
        self._server.connect(os.environ[_ADDRESS])
        send_fds(self._server, [json.dumps(asked).encode()], streams)
        self.pid = int(self._server.recv(64))
        self._child_created = True
        self._close_pipe_fds(*pipes)

    def _internal_poll(self, _deadstate: int | None = None) -> int | None:
        return self._end(0)

    def _wait(self, timeout: float | None) -> int:
        code = self._end(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def _end(self, timeout_s: float | None) -> int | None:
        """Return the exit code; None where the process has not ended after so many seconds."""
        if self.returncode is None:
            self._server.settimeout(timeout_s)
            try:
                self.returncode = int(self._server.recv(64))
            except (TimeoutError, BlockingIOError):
                return None
            self._server.close()
        return self.returncode


Forked = _Forked if HAS_FORK_SERVER else subprocess.Popen


def run(command: Sequence[str], *, timeout: float = LONGEST_S, **options: Any) -> "subprocess.CompletedProcess[Any]":
    """Run a command to its end, as `subprocess.run` does, and return what it said."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Forked(command, **(streams | options)) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        finally:
            process.kill()
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def run_code(code: str) -> "subprocess.CompletedProcess[str]":
    """Run Python code that can import the project to its end, in a process of its own, and return what it said."""
    return run([sys.executable, "-c", f"import sys; sys.path.insert(0, sys.argv[1])\n{code}", str(ROOT)], text=True)
