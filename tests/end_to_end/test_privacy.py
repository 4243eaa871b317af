"""Who may read what real runs leave behind."""

import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import cv2
import pytest

import run_stream
from maskstream.io.files import readable_by
from maskstream.sinks.screenshots import save_snapshot
from maskstream.types import BgrImage
from tests.conftest import DEMO
from tests.ports import free_port
from tests.schemas import check_lines, validator

pytestmark = pytest.mark.usefixtures("signals")


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """The usual one, by which everybody may read."""
    before = os.umask(0o022)
    yield
    assert os.umask(before) == 0o022, "a run has left its own"


def watch(out: Path, *more: str) -> None:
    files = {"--output": "video/out.mp4", "--jsonl": "faces.jsonl", "--csv": "faces.csv", "--status": "status.jsonl"}
    files |= {"--events": "events.jsonl", "--summary": "summary.json"}
    outputs = [part for option, name in files.items() for part in (option, str(out / name))]
    hook = f"events.webhooks=[{{url: 'http://127.0.0.1:{free_port()}/x'}}]"
    queue = f"events.queue={out / 'state' / 'events.db'}"
    settings = [
        part
        for setting in (hook, queue, "privacy.store_crops=true", "events.min_seconds=0.1", *more)
        for part in ("--set", setting)
    ]
    (out / "video").mkdir(exist_ok=True)
    assert run_stream.main(["--quiet", "--source", str(DEMO), "--max-frames", "12", *outputs, *settings]) == 0


def modes(folder: Path) -> dict[str, str]:
    """Return permissions in octal, by name."""
    return {str(path.relative_to(folder)): f"{path.stat().st_mode & 0o777:o}" for path in folder.rglob("*")}


NAMES = ("video/out.mp4", "faces.jsonl", "faces.csv", "status.jsonl", "events.jsonl", "summary.json", "summary.png")


def test_all_files_of_a_run_are_for_its_owner_alone_also_those_that_were_there(tmp_path: Path) -> None:
    (tmp_path / "video").mkdir()
    for name in NAMES:
        (tmp_path / name).touch()
    assert set(modes(tmp_path).values()) == {"755", "644"}
    watch(tmp_path)
    assert modes(tmp_path) == {**dict.fromkeys(NAMES, "600"), "video": "755", "state": "700", "state/events.db": "600"}
    assert b"crop_jpeg" in (tmp_path / "state" / "events.db").read_bytes()


def test_they_can_be_shared_with_a_group_but_the_queue_and_fit_their_schemas(tmp_path: Path) -> None:
    watch(tmp_path, "privacy.readable_by=group")
    for name, file in (("record", "faces"), ("status", "status"), (None, "events")):
        assert check_lines(name, tmp_path / f"{file}.jsonl")
    validator("summary").validate(json.loads((tmp_path / "summary.json").read_text()))
    assert modes(tmp_path) == {**dict.fromkeys(NAMES, "640"), "video": "755", "state": "700", "state/events.db": "600"}


def test_images_and_snapshots(tmp_path: Path, face_bgr: BgrImage) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "b.png"):
        cv2.imwrite(str(tmp_path / "in" / name), face_bgr)
    assert run_stream.main(["--quiet", "--source", str(tmp_path / "in"), "--output", str(tmp_path / "out")]) == 0
    assert modes(tmp_path / "out") == {"a.jpg": "600", "b.png": "600"}
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700
    with readable_by("owner"):
        save_snapshot(face_bgr, tmp_path / "snapshots", "door", datetime(2026, 1, 2))
    assert list(modes(tmp_path / "snapshots").values()) == ["600"]
