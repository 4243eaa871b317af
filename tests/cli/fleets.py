"""A running `maskstream fleet` with local agents and cameras of this machine."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from tests.command_lines import ROOT, Forked
from tests.receivers import wait_until
from tests.slowness import LONGEST_S

_PLACED = re.compile(r" INFO    (?P<camera>\S+): (online: on (?P<online>\S+)|.* -> (?P<moved>\S+): .*)$")
PROGRAM = (sys.executable, str(ROOT / "maskstream" / "__main__.py"), "fleet")
SETTINGS = "{events: {min_seconds: 0.3, update_s: 2}}"


@dataclass
class Fleet:
    """A site of this machine, and the processes of its supervisor and its agents."""

    folder: Path
    options: tuple[str, ...] = ("--nodes", "2")
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    start_process: Callable[..., "subprocess.Popen[bytes]"] = Forked

    @property
    def site(self) -> Path:
        return self.folder / "site.yaml"

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    def write_site(self, cameras: dict[str, str], **keys: Any) -> None:
        entries = [{"name": name, "url": url} for name, url in cameras.items()]
        lines = [f"{key}: {json.dumps(value)}" for key, value in {"site": "test", "folder": "state", **keys}.items()]
        self.site.write_text("\n".join([*lines, f"settings: {SETTINGS}", f"cameras: {json.dumps(entries)}", ""]))

    def start(self) -> None:
        """Start a supervisor; the log of each goes on in one file."""
        command = [*PROGRAM, "--site", str(self.site)]
        with self.log_file.open("ab") as log:
            options = ["--events", str(self.events), "--status", str(self.folder / "status.jsonl"), *self.options]
            self.processes.append(self.start_process([*command, *options], cwd=ROOT, stdout=log, stderr=log))

    @property
    def log_file(self) -> Path:
        return self.folder / "log.txt"

    def log(self) -> list[str]:
        """Return the complete lines: one may be being written."""
        text = self.log_file.read_text() if self.log_file.exists() else ""
        return text[: text.rfind("\n") + 1].splitlines()

    def wait_for(self, *parts: str, after: int = 0) -> float:
        """Wait until the log has a line with each of these parts, after a number of lines; return the time waited."""
        began_s = monotonic()

        def has_all() -> bool:
            assert self.processes[-1].poll() is None, "\n".join(self.log())
            lines = self.log()[after:]
            return all(any(part in line for line in lines) for part in parts)

        wait_until(has_all)
        return monotonic() - began_s

    def nodes_of(self) -> dict[str, str]:
        """Return the node of each camera, by the latest line of the log about it."""
        found: dict[str, str] = {}
        for line in self.log():
            told = _PLACED.search(line)
            if told is not None:
                found[told["camera"]] = told["moved"] or told["online"]
        return found

    def kill_supervisor(self) -> None:
        os.kill(self.processes[-1].pid, signal.SIGKILL)
        self.processes[-1].wait(LONGEST_S)

    def stop(self, number: int = signal.SIGINT) -> int:
        """Stop the supervisor as a user does, and return its exit code."""
        os.kill(self.processes[-1].pid, number)
        return self.processes[-1].wait(LONGEST_S)

    def agents(self) -> dict[str, int]:
        """Return the process of each agent that runs, by its node."""
        found = {}
        for process in Path("/proc").iterdir():
            with suppress(OSError):
                words = (process / "cmdline").read_bytes().decode().split("\0") if process.name.isdecimal() else []
                if "maskstream.fleet.local_worker" in words and str(self.folder) in " ".join(words):
                    name = next(word for word in words if word.startswith("test."))
                    found[name.removeprefix("test.")] = int(process.name)
        return found

    def records(self) -> list[dict[str, Any]]:
        """Return the records of the complete lines of --events: the supervisor may be writing one."""
        text = self.events.read_text() if self.events.exists() else ""
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def by_event(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for record in self.records():
            if record["type"] == "event":
                found.setdefault(record["event_id"], []).append(record)
        return found

    def waiting(self) -> int:
        """Return how many records wait on the nodes, after their agents have ended."""
        import sqlite3

        total = 0
        for path in (self.folder / "state" / "nodes").glob("*/records.db"):
            connection = sqlite3.connect(path)
            total += connection.execute("SELECT count(*) FROM records").fetchone()[0]
            connection.close()
        return total

    def close(self) -> None:
        for process in self.processes:
            with process, suppress(ProcessLookupError):
                process.kill()
                process.wait(LONGEST_S)
        for number in self.agents().values():
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


@contextmanager
def running_fleet(
    folder: Path,
    cameras: dict[str, str],
    *options: str,
    start_process: Callable[..., "subprocess.Popen[bytes]"] = Forked,
    **keys: Any,
) -> Iterator[Fleet]:
    """Run a fleet whose cameras are all online; at the end nothing of it runs any more.

    Args:
        folder: Of the site, its state and its outputs.
        cameras: The URLs of the cameras by name.
        options: Of the command; by default two nodes.
        start_process: Starts the supervisor.
        keys: Of the site.
    """
    fleet = Fleet(folder, options or ("--nodes", "2"), start_process=start_process)
    fleet.write_site(cameras, **keys)
    try:
        fleet.start()
        fleet.wait_for(*(f"{name}: online" for name in cameras))
        yield fleet
    finally:
        fleet.close()
