"""Models and outputs that are slow, run out of memory, raise errors or find many faces."""

import re
import signal
from pathlib import Path
from statistics import median
from typing import Final

import av
import cv2
import numpy as np

from tests.drill.cameras import FPS, RtspCamera, one_camera
from tests.drill.child import child, decoded, expect
from tests.drill.table import Table

_DETECTOR_S: Final = 1.0
_OLDEST_S: Final = 3.0
_SINK_S: Final = 0.5
_GROWTH_MB: Final = 40.0
_FACE_PX: Final = 72


def slowness(table: Table, folder: Path, clip: Path) -> None:
    """Run the cases of slow or broken processing of a camera."""
    with one_camera(clip) as camera:
        _slow(table, folder / "detector", camera, f"slow_detector={_DETECTOR_S}", "a detector ten times slower than the camera")
        _slow(table, folder / "sink", camera, f"slow_sink={_SINK_S}", f"an output that needs {_SINK_S:g} s per frame")
        raising_sink(table, folder / "raising_sink", camera)


def files(table: Table, folder: Path, clip: Path) -> None:
    """Run the cases of invalid faces, too little memory and crowds."""
    _odd_faces(table, folder / "odd_faces", clip)
    _no_memory(table, folder / "no_memory", clip)
    _crowds(table, folder / "crowds", clip)


def _slow(table: Table, folder: Path, camera: RtspCamera, fault: str, name: str) -> None:
    promised = f"no frame is older than {_OLDEST_S:g} s when its record is written, drops are counted, memory does not grow"
    with table.case(f"{name}, at {FPS} fps", promised) as row:
        with child(table.machine, folder, "--source", camera.url(), "--set", "stream.health_s=5", faults=[fault]) as run:
            run.wait_for_frames(8)
            before = run.usage()
            ages_s = run.ages_s(12)
            after = run.usage()
            run.wait_for("health", lambda: "overload" in run.log, 10)
            run.leave()
        expect(table.machine.keeps(max(ages_s), _OLDEST_S), f"ages up to {max(ages_s):.1f} s")
        expect(after.rss_mb - before.rss_mb < _GROWTH_MB, f"{before} became {after}")
        dropped = re.findall("dropped: (.*), last frame", run.log)[-1]
        expect(not dropped.startswith("0 overload, 0 stale"), f"dropped: {dropped}")
        row.saw(f"ages {median(ages_s):.2f} s, at most {max(ages_s):.2f} s; dropped: {dropped}; {before}, then {after}")


def raising_sink(table: Table, folder: Path, camera: RtspCamera) -> None:
    """Watch a camera with an output that raises an unexpected error."""
    promised = "one error, the other outputs continue; exit code 130 after SIGINT"
    with table.case("an output raises an unexpected error", promised) as row:
        with child(
            table.machine, folder, "--source", camera.url(), "--csv", folder / "faces.csv", faults=["raising_sink=5"]
        ) as run:
            run.wait_for("an error", lambda: "internal error" in run.log)
            run.wait_for_frames(10)
            run.leave(signal.SIGINT)
        said = [line for line in run.log.splitlines() if "ERROR" in line and "internal error, " in line]
        expect(len(said) == 1, f"said {len(said)} times")
        row.saw(said[0].split("ERROR")[1].strip())


def _odd_faces(table: Table, folder: Path, clip: Path) -> None:
    promised = "every record is JSON, the video decodes, the valid face is classified"
    with table.case("zero-area, off-frame and NaN faces from the model", promised) as row:
        arguments = ("--source", clip, "--max-frames", "8", "--output", folder / "out.mp4", "--csv", folder / "faces.csv")
        with child(
            table.machine,
            folder,
            *arguments,
            "--set",
            "classifier.max_background=1",
            "--set",
            "align.min_unknown_score=0",
            "--set",
            "align.max_uncertain_background=1",
            "--set",
            "detector.min_face_px=0",
            faults=["odd_faces"],
        ) as run:
            code = run.wait_for_end()
        expect(code == 0, f"exit code {code}: {run.last_words}")
        faces = [len(record["faces"]) for record in run.records()]
        labels = [face["label"] for face in run.records()[0]["faces"]]
        expect(len(faces) == decoded(folder / "out.mp4") == 8, f"{len(faces)} records")
        expect(labels[-1] != "unknown", f"labels: {labels}")
        row.saw(f"8 frames with {faces[0]} faces each, {labels.count('unknown')} of them unknown")


def _no_memory(table: Table, folder: Path, clip: Path) -> None:
    with table.case(
        "CUDA out of memory with more than 2 images (torch's error, raised inside the network)",
        "the batch is halved until it fits, logged each time; no frame is lost",
    ) as row:
        arguments = ("--source", clip, "--max-frames", "20", "--set", "stream.batch_size=8", "--set", "detector.every=1")
        with child(table.machine, folder, *arguments, "--set", "detector.backend=torch", faults=["memory_for=2"]) as run:
            code = run.wait_for_end()
        said = re.findall(r"continuing with (\d+) at a time", run.log)
        expect(code == 0, f"exit code {code}: {run.last_words}")
        expect([record["frame"] for record in run.records()] == list(range(20)), f"{len(run.records())} frames")
        expect(said and int(said[-1]) <= 2, f"said: {said}")
        row.saw(f"continued with {', then '.join(said)} at a time; 20 of 20 frames analysed")


def _crowds(table: Table, folder: Path, clip: Path) -> None:
    with table.case("images of 100 and of 500 faces", "all are classified, in one call each") as row:
        folder.mkdir(parents=True)
        face = _one_face(clip)
        for columns, rows in ((10, 10), (25, 20)):
            cv2.imwrite(str(folder / f"crowd{columns * rows}.png"), np.tile(face, (rows, columns, 1)))
        arguments = ("--source", folder / "crowd100.png", "--source", folder / "crowd500.png", "--output", folder / "out")
        with child(
            table.machine, folder, *arguments, "--set", "detector.max_faces=500", "--set", "detector.short_side=1200"
        ) as run:
            code = run.wait_for_end(120)
        expect(code == 0, f"exit code {code}: {run.last_words}")
        for wanted, record in zip((100, 500), sorted(run.records(), key=lambda each: len(each["faces"])), strict=True):
            classified = sum(face["label"] != "unknown" for face in record["faces"])
            expect(classified > 0.8 * wanted, f"{classified} of {wanted} faces")
            row.saw(f"{classified} of {wanted} in {record['timing_ms']['total'] / 1000:.1f} s")


def _one_face(clip: Path) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """Return a square around one face of a clip, (72, 72, 3) uint8 BGR."""
    from maskstream import MaskPipeline

    with av.open(str(clip)) as container:
        bgr = next(container.decode(video=0)).to_ndarray(format="bgr24")
    x1, y1, x2, y2 = MaskPipeline()(bgr)[0].face_box_xyxy
    half = round(0.75 * max(x2 - x1, y2 - y1))
    x, y = round((x1 + x2) / 2), round((y1 + y2) / 2)
    cut = bgr[max(0, y - half) : y + half, max(0, x - half) : x + half]
    return np.asarray(cv2.resize(cut, (_FACE_PX, _FACE_PX), interpolation=cv2.INTER_AREA), np.uint8)
