"""Edit a list of cameras while they are recorded."""

import re
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

from tests.drill.cameras import rtsp_cameras
from tests.drill.child import QUICK_MODEL, Child, child, decoded, expect
from tests.drill.network import LONGEST_PAUSE_S
from tests.drill.table import Row, Table
from tests.servers import http_server, mjpeg

_NOTICED_WITHIN_S: Final = 5.0
_FRAMES: Final = 3
"""Between two edits."""
_WHILE_COMPILED: Final = 30
"""Frames of each camera while a network for more faces is compiled, where the cache has none."""
_EDITS: Final = 10


@dataclass
class Listed:
    """A list of cameras, each with its URL and its settings."""

    path: Path
    urls: dict[str, str]
    settings: dict[str, str] = field(default_factory=dict)

    def write(self) -> None:
        lines = [f"name: {name}, url: '{url}'{self.settings.get(name, '')}" for name, url in self.urls.items()]
        self.path.write_text("".join(f"- {{{line}}}\n" for line in lines))


def editing(table: Table, folder: Path, clip: Path) -> None:
    """Edit the list of a run with two RTSP cameras and one JPEG camera."""
    folder.mkdir(parents=True)
    with ExitStack() as running:
        cameras = running.enter_context(rtsp_cameras(clip, dict.fromkeys(("gate", "other"), "anyone")))
        web = running.enter_context(http_server({"/video": mjpeg(fps=10)}))
        urls = {"gate": cameras["gate"].url(), "yard": f"{web}/video"}
        listed = Listed(folder / "cameras.yaml", urls)
        listed.write()
        output = folder / "recordings"
        run = running.enter_context(child(table.machine, folder, "--source", listed.path, "--output", output, *QUICK_MODEL))
        for name in urls:
            run.wait_for_frames(_FRAMES, name)
        _settings(table, run, listed, output)
        _more_faces(table, run, listed)
        _typo(table, run, listed, cameras["other"].url())
        _ten_times(table, run, listed, output, {"gate": [urls["gate"], cameras["other"].url()]})


def _settings(table: Table, run: Child, listed: Listed, output: Path) -> None:
    promised = "applied without reconnecting; the recording continues in the same file"
    with table.case("detector.min_score of a camera is edited while it is recorded", promised) as row:
        listed.settings["gate"] = ", detector: {min_score: 1}"
        listed.write()
        took_s = run.wait_for(
            "other settings", lambda: "gate: the changed settings apply from now on" in run.log, _NOTICED_WITHIN_S
        )
        applied = datetime.now(UTC)  # frames captured before may still be in the models
        run.wait_for("frames captured after it", lambda: len(run.records("gate", since=applied)) >= _FRAMES)
        expect(not any(record["faces"] for record in run.records("gate", since=applied)), "faces below the threshold")
        expect(run.states("gate").count("connecting") == 1, f"its states were {run.states('gate')}")
        files = sorted(path.name for path in output.iterdir())
        expect(files == ["gate.mp4", "yard.mp4"], f"recordings: {files}")
        row.saw(f"applied after {took_s:.1f} s")


def _more_faces(table: Table, run: Child, listed: Listed) -> None:
    promised = (
        f"the detector is prepared while the stream continues: no pause between records is longer than {LONGEST_PAUSE_S:g} s"
    )
    with table.case("detector.max_faces is raised while cameras are recorded", promised) as row:
        known = len(run.records())
        listed.settings["yard"] = ", detector: {max_faces: 400}"
        listed.write()
        run.wait_for("other settings", lambda: "yard: the changed settings apply from now on" in run.log, _NOTICED_WITHIN_S)
        for name in listed.urls:
            run.wait_for_frames(_WHILE_COMPILED, name)
        times = sorted(datetime.fromisoformat(record["time_utc"]) for record in run.records()[known:])
        pause_s = max((after - before).total_seconds() for before, after in pairwise(times))
        expect(table.machine.keeps(pause_s, LONGEST_PAUSE_S), f"no record for {pause_s:.1f} s")
        row.saw(f"longest pause {pause_s:.2f} s in {len(times)} records")


def _typo(table: Table, run: Child, listed: Listed, url: str) -> None:
    promised = "one log line, the others continue; online when it is corrected"
    with table.case("a camera is added with rstp:// for rtsp://, and corrected", promised) as row:
        listed.urls["lab"] = url.replace("rtsp", "rstp")
        listed.write()
        run.wait_for("a line about it", lambda: "continuing without it" in run.log)  # a detector may be compiled still
        run.wait_for_frames(_FRAMES, "gate")
        listed.urls["lab"] = url
        listed.write()
        took_s = run.wait_for("it is online", lambda: "online" in run.states("lab"))
        run.wait_for_frames(_FRAMES, "lab")
        expect(run.states("gate").count("connecting") == 1, "another was opened again")
        row.saw(f"online {took_s:.1f} s after it was corrected")


def _ten_times(table: Table, run: Child, listed: Listed, output: Path, places: Mapping[str, list[str]]) -> None:
    promised = "each frame that has a record is in a recording"
    with table.case(f"the list is edited {_EDITS} times while all cameras are recorded", promised) as row:
        for number in range(_EDITS):
            _edit(listed, number, places["gate"])
            known = len(run.changes("gate"))
            listed.write()
            if number % 2:  # opened again
                run.wait_for_state("online", "gate", after=known)
            run.wait_for_frames(_FRAMES, "gate")
            run.wait_for_frames(_FRAMES, "yard")
        took_s = run.leave()
        _count(run, output, row)
        row.saw(f"left in {took_s:.1f} s")


def _edit(listed: Listed, number: int, places: list[str]) -> None:
    """Change settings that are applied at once, then settings that reconnect the camera; add and remove the third camera."""
    listed.settings["gate"] = f", detector: {{min_score: 0.{number + 1}}}, video: {{crf: {20 + number // 4}}}"
    if number % 4 == 1:
        listed.urls["gate"] = places[number // 4 % 2 - 1]
    elif number % 2:
        listed.settings["gate"] = listed.settings["gate"].replace("crf: 2", "crf: 3")
    if number % 3 == 0:
        listed.urls.pop("lab", None)
    elif number % 3 == 1:
        listed.urls["lab"] = places[-1]


def _count(run: Child, output: Path, row: Row) -> None:
    recorded: Counter[str] = Counter()
    for path in output.iterdir():
        recorded[re.sub(r"_\d+$", "", path.stem)] += decoded(path)
    records = Counter(record["source"] for record in run.records())
    expect(recorded == records, f"recorded {dict(recorded)}, with a record {dict(records)}")
    names = sorted(path.name for path in output.iterdir())
    row.saw(f"{sum(records.values())} records, and the same number of frames in {len(names)} recordings, {dict(records)}")
