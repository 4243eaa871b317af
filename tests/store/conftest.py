from collections.abc import Iterator
from pathlib import Path

import pytest

from maskstream.store.store import Store
from tests.store.made import CHEAP, WallClock


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


@pytest.fixture
def store(tmp_path: Path, clock: WallClock) -> Iterator[Store]:
    with Store(tmp_path / "store", clock, cost=CHEAP) as opened:
        yield opened
