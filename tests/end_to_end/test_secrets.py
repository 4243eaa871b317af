"""The whole program with cameras whose URLs hold secrets of all kinds: nobody else on the machine, and no file, learns them."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.command_lines import ROOT
from tests.end_to_end.test_run_stream import run
from tests.servers import http_server, mjpeg, silent_server
from tests.slowness import LONGEST_S, slowness

QUERY, TOKEN, WORD = "qu3ry-s3cret", "Zq9tOk3n8In7ThE6Path5", "w0rd-s3cret"
SECRETS = (QUERY, TOKEN, WORD)
URL = f"http://me:{WORD}@{{}}/{TOKEN}?user=u&pwd={QUERY}"
PROGRAMS = {
    "module": ["-m", "maskstream", "run"],
    "console script": ["-c", "import sys; from maskstream.cli.main import program; sys.argv[0] = 'maskstream'; program()", "run"],
    "run_stream.py": [str(ROOT / "run_stream.py")],
}


@contextmanager
def started(arguments: Sequence[str], folder: Path) -> Iterator[psutil.Process]:
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen([sys.executable, *arguments], stdout=log, stderr=log, cwd=ROOT)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait(LONGEST_S)


def shown_of(process: psutil.Process) -> str:
    """Return what everybody can see of a process and of those that it has started; some may end during the look."""
    seen: list[str] = []
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            seen += one.name(), *one.cmdline()
    for task in Path(f"/proc/{process.pid}/task").glob("*/comm"):
        with suppress(FileNotFoundError, ProcessLookupError):
            seen.append(task.read_text())
    return " ".join(seen)


@pytest.mark.skipif(sys.platform != "linux", reason="what others see of a process is read from /proc")
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("joined", [True, False])
def test_nobody_sees_them_in_the_list_of_processes(program: str, joined: bool, tmp_path: Path) -> None:
    """From the moment on in which the program has begun: while Python itself starts, its arguments are there."""
    with silent_server() as host:
        url = URL.format(host)
        broker = f"events.mqtt=mqtt://u:{WORD}@127.0.0.1:1"
        given = [f"--source={url}", f"--set={broker}"] if joined else ["--source", url, "--set", broker]
        queue = f"events.queue={tmp_path / 'events.db'}"
        with started([*PROGRAMS[program], *given, "--set", queue], tmp_path) as process:
            until_s = time.monotonic() + LONGEST_S
            while "--source ***" not in shown_of(process):
                assert time.monotonic() < until_s
                time.sleep(0.02)
            assert [secret for secret in SECRETS if secret in shown_of(process)] == []


def test_no_file_and_no_line_holds_them(tmp_path: Path) -> None:
    """A run with every output there is, of a camera that answers and of three that do not."""
    out = tmp_path / "out"
    out.mkdir()
    with http_server({f"/{TOKEN}": mjpeg(frames=12)}) as address, silent_server() as silent:
        hosts = (address.removeprefix("http://"), silent, "127.0.0.1:1", "no-such-camera.invalid")
        sources = [part for host in hosts for part in ("--source", URL.format(host))]
        outputs = [
            part
            for name in ("jsonl", "csv", "status", "events", "summary")
            for part in (f"--{name}", out / f"{name}.{'json' if name == 'summary' else 'txt'}")
        ]
        quick = ["detector.short_side=64", f"network.open_timeout_s={slowness():.1f}", "stream.health_s=0.2"]
        quick += [f"events.queue={out / 'events.db'}"]
        settings = [part for setting in quick for part in ("--set", setting)]
        done = run(*sources, *outputs, "--output", out / "video", "--max-reconnects", "1", "--log-level", "TRACE", *settings)
    assert done.returncode == 3, done.stderr
    assert f"http://***@{hosts[0]}/***?user=***&pwd=***" in done.stderr
    told = {"stdout": done.stdout, "stderr": done.stderr}
    told |= {str(path): path.read_bytes().decode("latin-1") for path in out.rglob("*") if path.is_file()}
    assert {Path(path).suffix for path in told} >= {".mp4", ".txt", ".json", ".png"}
    assert [(path, secret) for path, text in told.items() for secret in SECRETS if secret in text or secret in path] == []
