"""Processes that use one store: python processes.py together FOLDER NUMBER, or python processes.py killed FOLDER ROUNDS.

Each child is forked by this process, which has one thread and everything imported: a start of Python takes longer than a test.
"""

import json
import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Thread

from maskstream.store.roles import Role
from maskstream.store.sink import StoreSink
from maskstream.store.store import Store
from tests.forks import fork
from tests.store.made import CHEAP, PASSWORD, event

LONGEST_LIFE_S = 0.04


def forked(act: Callable[[], None]) -> int:
    """Call a function in a child, and return its process id."""
    child = fork()
    if child:
        return child
    code = 1
    try:
        act()
        code = 0
    finally:
        os._exit(code)


def together(folder: Path, number: int) -> list[int]:
    """Open a store that does not exist in many processes at once; return their exit codes."""

    def add() -> None:
        with Store(folder) as store:
            store.audit.add("anna", "test", "", "local")

    children = [forked(add) for _ in range(number)]
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def write_without_end(folder: Path, answers: int, round_number: int) -> None:
    """Write from several threads, and report each write after it is acknowledged."""
    store = Store(folder, cost=CHEAP)
    StoreSink(store)

    def report(kind: str, what: str) -> None:
        os.write(answers, f"{kind} {what}\n".encode())

    def audit() -> None:
        for number in range(100_000):
            store.audit.add("anna", f"{round_number}-{number}", "x" * random.randrange(900), "local")
            report("audit", f"{round_number}-{number}")

    def sessions() -> None:
        for number in range(100_000):
            name = f"user{round_number}-{number}"
            store.users.add(name, Role.VIEWER, ("door",), PASSWORD)
            report("session", store.sessions.create(name, "10.0.0.1"))

    for act in (audit, sessions):
        Thread(target=act, daemon=True).start()
    for number in range(100_000):
        store.events.put(event(round_number * 100_000 + number))
        if store.flush(10.0):
            report("event", f"e-{round_number * 100_000 + number}")


def acknowledged_before_death(folder: Path, round_number: int) -> list[list[str]]:
    """Kill a child that writes at a random moment, and return what it has reported."""
    reading, writing = os.pipe()
    child = forked(lambda: write_without_end(folder, writing, round_number))
    os.close(writing)
    text = os.read(reading, 65536)
    time.sleep(random.uniform(0.0, LONGEST_LIFE_S))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while part := os.read(reading, 65536):
        text += part
    os.close(reading)
    whole = text[: text.rfind(b"\n") + 1]
    return [line.split() for line in whole.decode().splitlines()]


def is_kept(store: Store, kind: str, what: str) -> bool:
    """Return whether an acknowledged write is in the store."""
    if kind == "session":
        return store.sessions.find(what) is not None
    if kind == "event":
        return store.events.get(what) is not None
    return what in {entry.what for entry in store.audit.page(limit=100_000).entries}


def killed(folder: Path, rounds: int) -> dict[str, int]:
    """Kill a writing child many times; count what it acknowledged, and what of that is lost."""
    done = {"acknowledged": 0, "lost": 0, "damaged": 0, "open": 0}
    for round_number in range(rounds):
        reports = acknowledged_before_death(folder, round_number)
        with closing(sqlite3.connect(folder / "maskstream.db")) as connection:
            done["damaged"] += connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]
        with Store(folder, cost=CHEAP) as store:
            done["acknowledged"] += len(reports)
            done["lost"] += sum(not is_kept(store, kind, what) for kind, what in reports)
            StoreSink(store).close()
            done["open"] += store.events.open_count()
    return done


if __name__ == "__main__":
    command, place, given = sys.argv[1:]
    json.dump({"together": together, "killed": killed}[command](Path(place), int(given)), sys.stdout)
