"""A process of the fork server behaves like one that the system starts."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_lines import HAS_FORK_SERVER, Forked, run
from tests.slowness import LONGEST_S

pytestmark = pytest.mark.skipif(not HAS_FORK_SERVER, reason="there are no handles of processes on this system")

STARTS = {
    "forked": run,
    "started": lambda command, **options: subprocess.run(command, capture_output=True, check=False, **options),
}
LOOK = """
import os, pathlib, signal, sys, threading
print(sys.argv, os.getcwd(), sys.path[0], __name__, os.environ.get("GIVEN"), os.environ.get("PATH"), threading.active_count())
print(sys.stdin.isatty(), sys.stdin.read(), sys.stdout.line_buffering, sys.stderr.line_buffering, sys.stdout.encoding)
print(signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGPIPE))
print(sorted(os.listdir("/proc/self/fd")))
"""


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def looked(start: str, folder: Path, script: Path) -> list[object]:
    """Return what processes report about themselves."""
    environment = {"PATH": os.environ["PATH"], "GIVEN": "é", "PYTHONIOENCODING": "utf-8"}
    options = {"cwd": folder, "env": environment, "stdin": subprocess.DEVNULL}
    done = [STARTS[start](command, **options) for command in (python(LOOK, "a", "--b"), [sys.executable, str(script), "c"])]
    return [(each.returncode, each.stdout.splitlines(), each.stderr) for each in done]


def test_it_reports_the_same_about_itself(tmp_path: Path) -> None:
    script = tmp_path / "scripts" / "look.py"
    script.parent.mkdir()
    script.write_text(LOOK)
    forked, started = looked("forked", tmp_path, script), looked("started", tmp_path, script)
    assert forked == started
    assert forked[0][0] == 0


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("", 0),
        ("raise SystemExit(7)", 7),
        ("raise SystemExit('what is wrong')", 1),
        ("import atexit, os; atexit.register(os._exit, 5)", 5),
        ("import os; print('lost'); os._exit(3)", 3),
        ("raise ValueError", 1),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("import os; os.abort()", -signal.SIGABRT),
        ("import threading; threading.Thread(target=print, args=['from a thread']).start()", 0),
    ],
)
def test_it_ends_in_the_same_way(code: str, expected: int) -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    forked, started = (STARTS[start](python(code), env=plain) for start in STARTS)
    assert (forked.returncode, started.returncode) == (expected, expected)
    assert forked.stdout == started.stdout
    assert forked.stderr.splitlines()[-1:] == started.stderr.splitlines()[-1:]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signals_reach_it(number: signal.Signals) -> None:
    with Forked(
        python("print('ready', flush=True)\nwhile True: pass"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
        process.send_signal(number)
        assert process.wait(LONGEST_S) == -number
        assert process.poll() == -number


def test_what_it_changes_is_its_own() -> None:
    change = "import os, sys, numpy; numpy.changed = 1; os.environ['CHANGED'] = '1'; sys.path.clear(); os.chdir('/')"
    ask = "import os, numpy; print(hasattr(numpy, 'changed'), 'CHANGED' in os.environ)"
    assert run(python(change)).returncode == 0
    assert run(python(ask)).stdout == b"False False\n"


def test_random_numbers_differ_between_processes() -> None:
    draw = "import random, uuid, numpy; print(random.random(), uuid.uuid4(), numpy.random.random())"
    first, second = (run(python(draw), text=True).stdout.split() for _ in range(2))
    assert all(one != other for one, other in zip(first, second, strict=True))
