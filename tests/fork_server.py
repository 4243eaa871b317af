"""Runs Python in processes that begin with everything imported: python fork_server.py SOCKET.

A start of the program with PyTorch takes seconds, nearly all of them for imports. This process imports once, when it is first
asked, and forks for each command line. `tests/command_lines.py` asks it.

Each connection asks for one command line: JSON with `arguments` (of the interpreter: a script or `-c` with code, and what
follows), `folder` and `environment`, together with three descriptors that become stdin, stdout and stderr. It is answered with
the number of the process, and, once that has ended, with its exit code, negative for a signal. The server ends when its stdin is
closed.
"""

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
IMPORTED = (
    *("cv2", "av", "numpy", "scipy.optimize", "torch", "torchvision", "trackers", "matplotlib.pyplot", "sklearn.metrics"),
    *("pydantic", "yaml", "loguru", "rich.console", "setproctitle", "maskstream.cli.build", "maskstream.inference.pipeline"),
)
"""What takes time and starts no thread (openvino and onnxruntime do): a fork copies the calling thread alone."""
LONGEST_MESSAGE = 2**20


@dataclass(frozen=True)
class CommandLine:
    """What a process is to run."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    descriptors: list[int]


@cache
def import_all() -> None:
    """Import once what all need."""
    sys.path.insert(0, str(ROOT))
    for name in IMPORTED:
        importlib.import_module(name)
    sys.path.remove(str(ROOT))
    with suppress(ImportError):
        importlib.import_module("tabulate")  # else torch imports it at the end of a child, which then forgets a KeyboardInterrupt
    gc.collect()
    gc.freeze()  # else the first collection in each child would copy all of it


def serve(address: str) -> CommandLine | None:
    """Fork for whoever asks; return in each child what it is to run, and None in the server at its end."""
    running: dict[int, tuple[int, socket.socket]] = {}
    """By the handle of a process, its number and who waits for its end."""
    with ExitStack() as open_here:
        selector = open_here.enter_context(selectors.DefaultSelector())
        listening = open_here.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        listening.bind(address)
        listening.listen(64)
        selector.register(listening, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        print("ready", flush=True)  # noqa: T201 (whoever started it waits for this)
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    for pid, _ in running.values():
                        os.kill(pid, signal.SIGKILL)
                    return None
                if isinstance(key.fileobj, int):
                    selector.unregister(key.fileobj)
                    os.close(key.fileobj)
                    tell_end(*running.pop(key.fileobj))
                    continue
                command_line, handle = answer(listening, running)
                if command_line is not None:
                    return command_line
                if handle is not None:
                    selector.register(handle, selectors.EVENT_READ)


def answer(listening: socket.socket, running: dict[int, tuple[int, socket.socket]]) -> tuple[CommandLine | None, int | None]:
    """Fork for who asks next; return what to run in the child, and the handle of the child in the server."""
    asking, _ = listening.accept()
    message, descriptors, _, _ = socket.recv_fds(asking, LONGEST_MESSAGE, 3)
    if not message:  # whoever asked has gone
        asking.close()
        return None, None
    import_all()
    assert sum(1 for _ in Path("/proc/self/task").iterdir()) == 1, "only one of several threads would be in a fork"
    pid = os.fork()
    if pid == 0:
        for other, (_, connection) in running.items():
            os.close(other)
            connection.close()
        asking.close()
        return CommandLine(**json.loads(message), descriptors=descriptors), None
    for descriptor in descriptors:
        os.close(descriptor)
    handle = os.pidfd_open(pid)
    running[handle] = (pid, asking)
    with suppress(ConnectionError):
        asking.send(str(pid).encode())
    return None, handle


def tell_end(pid: int, asked: socket.socket) -> None:
    _, status = os.waitpid(pid, 0)
    with suppress(ConnectionError), asked:
        asked.send(str(os.waitstatus_to_exitcode(status)).encode())


def become(asked: CommandLine) -> None:
    """Make of this process what the interpreter would have made of a process of its own."""
    for number, descriptor in enumerate(asked.descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(asked.folder)
    os.environ.clear()
    os.environ.update(asked.environment)
    encoding, _, errors = asked.environment.get("PYTHONIOENCODING", "").partition(":")
    encoding, errors = encoding or sys.stdout.encoding, errors or str(sys.stdout.errors)
    sys.stdin = sys.__stdin__ = open(0, encoding=encoding, errors=errors, closefd=False)  # type: ignore[misc] # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", encoding=encoding, errors=errors, closefd=False)  # type: ignore[misc] # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(  # type: ignore[misc] # noqa: SIM115
        2, "w", 1, encoding=encoding, errors="backslashreplace", closefd=False
    )
    importlib.import_module("numpy").random.seed()  # torch begins with one seed anyway, random with another after each fork


def execute(arguments: list[str], own_path: list[str]) -> None:
    """Run a script, or the code after `-c`, as `__main__`."""
    program, *others = arguments
    main = ModuleType("__main__")
    if program == "-c":
        code, *others = others
        first, compiled = "", compile(code, "<string>", "exec")
    else:
        main.__file__ = program
        first, compiled = str(Path(program).resolve().parent), compile(Path(program).read_bytes(), program, "exec")
    sys.argv = [program, *others]
    sys.path[:] = [first, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), *own_path]
    sys.modules["__main__"] = main
    exec(compiled, main.__dict__)


if __name__ == "__main__":
    path_of_all = sys.path[1:]
    command_line = serve(sys.argv[1])
    if command_line is not None:
        become(command_line)
        execute(command_line.arguments, path_of_all)
