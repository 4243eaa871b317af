from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, two levels below one that no other test uses."""
    place = tmp_path / "upper" / "lower"
    place.mkdir(parents=True)
    monkeypatch.chdir(place)
    return place
