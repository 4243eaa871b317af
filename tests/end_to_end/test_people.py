"""What is told of people, by the command line itself."""

import hmac
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import av
import cv2
import numpy as np
import pytest

import run_stream
from tests import command_lines
from tests.command_lines import Forked
from tests.conftest import DEMO
from tests.end_to_end.test_run_stream import command, run
from tests.ports import free_port
from tests.receivers import broker, subscriber, wait_until, web_receiver
from tests.video_files import repeated

SECRET = "between us"
DOWN_S = 30.0
BARE_ALL_ALONG, TAKES_IT_OFF = "left", "middle"
"""Persons of the demo, by their place."""


def records(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a file."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def phases(found: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return what was told of each event, in order, each record once."""
    told = {(record["event_id"], record["sequence"]): record["phase"] for record in found if record["type"] == "event"}
    return {event: [told[key] for key in keys] for event, keys in groupby(sorted(told), key=lambda key: key[0])}


def place(event: dict[str, Any]) -> str:
    """Return where the person of an event of the demo stands. The numbers depend on scores that are nearly equal."""
    thirds = ("left", "middle", "right")
    return thirds[int(event["best"]["box"]["x1"] * len(thirds) / 640)]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The demo, with everything that is told of its people; masked faces are covered."""
    out = tmp_path_factory.mktemp("people")
    done = run(
        *("--source", DEMO, "--output", out / "out.mp4", "--jsonl", out / "faces.jsonl"),
        *("--events", out / "events.jsonl", "--summary", out / "summary.json"),
        *("--set", "privacy.blur=masked", "--set", "privacy.store_crops=true"),
    )
    return done, out


def test_events_of_the_demo(watched: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, out = watched
    assert done.returncode == 0, done.stderr
    found = records(out / "events.jsonl")
    by_person = {place(record): record for record in found if record.get("phase") == "end"}
    assert set(by_person) == {TAKES_IT_OFF, BARE_ALL_ALONG}
    assert sorted(phases(found).values()) == [["start", "end"]] * 2
    assert by_person[BARE_ALL_ALONG]["cause"] == "ended"
    assert by_person[BARE_ALL_ALONG]["duration_s"] == pytest.approx(5.96)
    assert found[-1]["type"] == "counts"
    assert found[-1]["people"] == {"mask": 2, "no_mask": 1, "incorrect": 0, "unknown": 0}


def test_crops_of_bare_faces_are_stored_where_masked_ones_are_covered(
    watched: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    found = [record for record in records(watched[1] / "events.jsonl") if record["type"] == "event"]
    assert all(record["best"]["crop_jpeg"].startswith("/9j/") for record in found)


def test_the_summary_of_the_demo(watched: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, out = watched
    (source,) = json.loads((out / "summary.json").read_text())["sources"]
    assert source["people"]["all"] == 3
    assert 0.4 < source["mask_share"] < 0.65
    assert source["events"]["no_mask"]["count"] == 2
    assert cv2.imread(str(out / "summary.png")).shape[2] == 3
    assert "2 no mask (9 s)" in done.stderr


def test_covered_faces_cannot_be_seen_in_the_video(watched: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    """The middle of a masked face is of one colour, in each frame; that of a bare one is not."""
    _, out = watched
    spread: dict[str, list[float]] = {"mask": [], "no_mask": []}
    with av.open(str(out / "out.mp4")) as container:
        for frame, record in zip(container.decode(video=0), records(out / "faces.jsonl"), strict=True):
            bgr = frame.to_ndarray(format="bgr24")
            for face in record["faces"]:
                x1, y1, x2, y2 = (round(value) for value in face["box"].values())
                middle = bgr[y1 + (y2 - y1) // 4 : y2 - (y2 - y1) // 4, x1 + (x2 - x1) // 4 : x2 - (x2 - x1) // 4]
                spread[face["steady_label"]].append(float(middle.std(axis=(0, 1)).max()))
    assert max(spread["mask"]) < 6 < np.median(spread["no_mask"])
    assert min(map(len, spread.values())) > 100


@pytest.mark.usefixtures("signals")
def test_zones_leave_others_out_and_are_named(tmp_path: Path) -> None:
    zone = "{left half: [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}"
    files = ["--jsonl", str(tmp_path / "faces.jsonl"), "--events", str(tmp_path / "events.jsonl")]
    settings = ["--set", f"zones={zone}", "--set", "events.min_seconds=0.5"]
    assert run_stream.main(["--quiet", "--source", str(DEMO), "--max-frames", "30", *files, *settings]) == 0
    faces = [face for record in records(tmp_path / "faces.jsonl") for face in record["faces"]]
    assert {face["zone"] for face in faces} == {"left half"}
    assert all((face["box"]["x1"] + face["box"]["x2"]) / 2 <= 320 for face in faces)
    told = records(tmp_path / "events.jsonl")
    assert {record["zone"] for record in told if record["type"] == "event"} == {"left half"}


@pytest.mark.slow
def test_a_program_that_is_killed_and_started_again_loses_nothing(tmp_path: Path, system_tool: Callable[[str], str]) -> None:
    """The web server is down for 30 s; the program is killed in the middle of an event; the broker says so."""
    web_port, mqtt_port = free_port(), free_port()
    clip = repeated(DEMO, 20, tmp_path / "clip.mp4")  # two minutes, so that it does not end before it is killed
    told = tmp_path / "events.jsonl"
    webhook = f"{{url: 'http://127.0.0.1:{web_port}/hook', secret: '${{HOOK_SECRET}}'}}"
    job = command(
        *("--source", clip, "--realtime", "--events", told, "--quiet", "--set", f"events.webhooks=[{webhook}]"),
        *("--set", f"events.mqtt=mqtt://127.0.0.1:{mqtt_port}", "--set", "events.min_seconds=0.3"),
    )
    environment = {**os.environ, "HOOK_SECRET": SECRET, "XDG_STATE_HOME": str(tmp_path / "state")}
    camera = str(clip).replace("/", "%2F")
    status, events = f"maskstream/{camera}/status", f"maskstream/{camera}/events"
    with broker(system_tool("mosquitto"), tmp_path, mqtt_port), subscriber(mqtt_port) as heard:
        with Forked(job, env=environment) as program:
            wait_until(lambda: any(record.get("phase") == "start" for record in records(told)))
            wait_until(lambda: heard.on(status)[-1:] == ["online"])
            program.send_signal(signal.SIGKILL)
        wait_until(lambda: heard.on(status)[-1:] == ["offline"])
        down_until_s = monotonic() + DOWN_S
        before = records(told)
        shutil.copy(DEMO, clip)
        assert command_lines.run(job, env=environment).returncode == 0
        sleep(max(0.0, down_until_s - monotonic()))
        with web_receiver(web_port) as posts:
            for _ in range(3):  # what a run may leave at its end is for the next one
                assert command_lines.run(job, env=environment).returncode == 0
                if set(phases(records(told))) <= set(phases(posts.records)) and "end" in str(posts.records[-1]):
                    break
        assert heard.on(status)[-1:] == ["offline"]
        published = heard.records(events)
    interrupted = {event for event, told_phases in phases(before).items() if told_phases[-1] != "end"}
    assert interrupted
    for received in (posts.records, published):
        complete = phases(received)
        assert all(complete[event][-1] == "end" for event in interrupted)
        assert all(set(told_phases) <= set(complete[event]) for event, told_phases in phases(records(told)).items())
        causes = {record["cause"] for record in received if record["type"] == "event" and record["event_id"] in interrupted}
        assert "interrupted" in causes
    signatures = [hmac.new(SECRET.encode(), body, sha256).hexdigest() for body in posts.bodies]
    assert [headers["X-Maskstream-Signature"] for headers in posts.headers] == [f"sha256={each}" for each in signatures]
