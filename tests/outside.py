"""What a process does outside itself: whom it asks, and what it writes where.

As a program, `python outside.py REPORT COMMANDS`: watches Python itself while it runs one subcommand after the other.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SAYS_IT_TESTS = ("CI", "TF_BUILD", "JENKINS_URL")
"""Where one of them is set, some packages send no reports."""
KEPT_ELSEWHERE = ("XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
_LOOKS_UP = ("socket.getaddrinfo", "socket.gethostbyname")
_CONNECTS = ("socket.connect", "socket.sendto", "socket.sendmsg")
_CHANGES = {"os.mkdir": 0, "os.truncate": 0, "sqlite3.connect": 0, "os.rename": 1, "os.link": 1, "os.symlink": 1}
"""Events of Python's audit, and which of their arguments is the file that changes."""
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CALL = re.compile(r"^\d+ +(\w+)\((.*)\) += (.*)$")
_CUT_IN_TWO = re.compile(r"^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$")
_REST = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$")
_TRACED = (
    "connect,sendto,sendmsg,sendmmsg,open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat"
)


@dataclass(frozen=True)
class Outside:
    """What was seen."""

    asked: list[str]
    """Hosts and addresses, loopback left out."""
    written: list[Path]
    """Files and folders that were made, changed or moved."""

    def strays(self, *allowed: Path) -> list[Path]:
        """Return what was written and lies in none of these folders; devices are no files."""
        devices = (Path("/dev"), Path("/proc"))
        return [path for path in self.written if not any(path.is_relative_to(folder) for folder in (*allowed, *devices))]


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a user whose home is empty."""
    left_out = {*SAYS_IT_TESTS, *KEPT_ELSEWHERE, "MPLCONFIGDIR", "HF_HOME", "TORCH_HOME"}
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return kept | {"HOME": str(home), "TMPDIR": str(home / "tmp"), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def in_python(commands: Sequence[Sequence[str]], home: Path, folder: Path) -> Outside:
    """Run subcommands one after the other in one process, in `folder`, and return what Python did; all of them must succeed."""
    report = home.parent / "outside.json"
    (home / "tmp").mkdir(parents=True)
    asked = [sys.executable, __file__, str(report), json.dumps(commands)]
    done = subprocess.run(asked, env=environment(home), cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(report.read_text())
    return Outside(seen["asked"], [Path(path) for path in seen["written"]])


def in_the_kernel(strace: str, command: Sequence[str], home: Path, folder: Path) -> tuple[Outside, str]:
    """Run a command in `folder` and return what it and its children asked of the kernel, and what it said."""
    log = home.parent / "outside.strace"
    (home / "tmp").mkdir(parents=True, exist_ok=True)
    traced = [strace, "--seccomp-bpf", "-f", "-qq", "-s", "4096", "-o", str(log), "-e", f"trace={_TRACED}", *command]
    done = subprocess.run(traced, env=environment(home), cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return read_strace(log.read_text(errors="replace"), folder), done.stdout + done.stderr


def read_strace(log: str, folder: Path) -> Outside:
    """Return what a log of strace says; calls that failed to write are nothing, those that failed to connect have asked."""
    asked, written = [], []
    for name, given, result in _calls(log):
        if name in ("connect", "sendto", "sendmsg", "sendmmsg"):
            asked += [
                found for found in re.findall(r'inet_(?:addr|pton)\((?:AF_INET6, )?"([^"]+)"', given) if _is_elsewhere(found)
            ]
        elif not result.startswith("-1") and (not name.startswith("open") or re.search(r"O_(WRONLY|RDWR|CREAT)", given)):
            written += [Path(os.path.normpath(folder / path)) for path in re.findall(r'"((?:[^"\\]|\\.)*)"', given)[-1:]]
    return Outside(asked, written)


def _calls(log: str) -> list[tuple[str, str, str]]:
    unfinished: dict[tuple[str, str], str] = {}
    calls = []
    for line in log.splitlines():
        if cut := _CUT_IN_TWO.match(line):
            unfinished[cut[1], cut[2]] = cut[3]
            continue
        if rest := _REST.match(line):
            line = f"{rest[1]} {rest[2]}({unfinished.pop((rest[1], rest[2]), '')}{rest[3]}"
        if whole := _CALL.match(line):
            calls.append((whole[1], whole[2], whole[3]))
    return calls


def _is_elsewhere(host: object) -> bool:
    if not isinstance(host, str):
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


def _watch(asked: list[str], written: list[str]) -> None:
    def heard(event: str, given: tuple[Any, ...]) -> None:
        if event in _LOOKS_UP:
            asked.extend(filter(_is_elsewhere, given[:1]))
        elif event in _CONNECTS:
            asked.extend(filter(_is_elsewhere, given[1][:1] if isinstance(given[1], tuple) else ()))
        elif (event == "open" and _is_written(*given)) or event in _CHANGES:
            path = os.path.abspath(os.fsdecode(given[_CHANGES.get(event, 0)]))  # noqa: PTH100
            if event != "os.mkdir" or not Path(path).exists():
                written.append(path)

    sys.addaudithook(heard)


def _is_written(path: object, mode: str | None, flags: int) -> bool:
    return not isinstance(path, int) and (bool(set(mode or "") & set("wax+")) or bool(flags & _WRITES))


def main() -> None:
    report, commands = Path(sys.argv[1]), json.loads(sys.argv[2])
    asked: list[str] = []
    written: list[str] = []
    _watch(asked, written)
    sys.path.insert(0, str(ROOT))
    from maskstream.cli.main import main as maskstream

    for command in commands:
        code = maskstream(command)
        assert code == 0, f"{command}: exit code {code}"
    report.write_text(json.dumps({"asked": asked, "written": [path for path in written if path != str(report)]}))


if __name__ == "__main__":
    main()
