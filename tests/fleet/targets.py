"""What the workers of the tests do."""

import os
import subprocess
import sys
import time
from pathlib import Path

from maskstream.errors import SourceError


class Counter:
    """Count calls; tell who it is."""

    def __init__(self, start: int = 0) -> None:
        self.count = start

    def add(self, number: int = 1) -> int:
        self.count += number
        return self.count

    def pid(self) -> int:
        return os.getpid()

    def loaded(self) -> list[str]:
        return sorted(sys.modules)

    def wait_for(self, path: str) -> int:
        """Work until a file exists."""
        while not Path(path).exists():
            time.sleep(0.01)
        return self.add()

    def echo(self, value: object) -> object:
        return value

    def returns_a_lambda(self) -> object:
        return lambda: None

    def divide(self, by: int) -> float:
        return 1 / by

    def unreadable(self) -> None:
        raise SourceError("clip.mp4 cannot be read;\nit is empty")

    def write(self, line: str, times: int) -> None:
        for _ in range(times):
            sys.stderr.write(f"{line}\n")

    def die(self, line: str, code: int) -> None:
        sys.stderr.write(f"{line}\n")
        os._exit(code)

    def has_child(self) -> int:
        """Start a process that goes on for long."""
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid


class Broken:
    def __init__(self) -> None:
        raise ValueError("no models here")
