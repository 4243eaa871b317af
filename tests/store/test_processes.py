"""Several processes on one store, and processes that are killed while they write."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from maskstream.store.store import Store
from tests.command_lines import ROOT


def answer(command: str, folder: Path, number: int) -> Any:
    line = [sys.executable, "-m", "tests.store.processes", command, str(folder), str(number)]
    return json.loads(subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


def test_processes_that_start_together_share_a_store(tmp_path: Path) -> None:
    assert answer("together", tmp_path, 6) == [0] * 6
    with Store(tmp_path) as store:
        assert len(store.audit.page().entries) == 6


@pytest.mark.parametrize("rounds", [pytest.param(8, id="few"), pytest.param(150, id="many", marks=pytest.mark.slow)])
def test_nothing_that_was_acknowledged_is_lost_when_the_process_is_killed(rounds: int, tmp_path: Path) -> None:
    done = answer("killed", tmp_path, rounds)
    assert done["acknowledged"] >= rounds
    assert done | {"acknowledged": 0} == {"acknowledged": 0, "lost": 0, "damaged": 0, "open": 0}
