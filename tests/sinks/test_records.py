import csv
import json
import math
import os
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from loguru import logger

from maskstream.errors import SinkClosed, SinkError
from maskstream.sinks import CsvSink, JsonlSink, StatusSink
from maskstream.types import COCO_KEYPOINTS, Detection, Face, Frame, FrameResult, Label, Output
from tests.command_lines import Forked
from tests.slowness import LONGEST_S
from tests.video_files import output_of, plain

REPOSITORY = Path(__file__).resolve().parents[2]
RECORD_KEYS = {"source", "file", "frame", "time_s", "time_utc", "faces", "timing_ms"}
FACE_KEYS = {
    "id",
    "label",
    "confidence",
    "steady_label",
    "steady_confidence",
    "judged",
    "score",
    "detection_box",
    "box",
    "quad",
    "keypoints",
    "zone",
}
CSV_HEADER = "source,file,frame,time_s,time_utc,id,label,confidence,steady_label,steady_confidence,score,x_min,y_min,x_max,y_max"
FULL_DEVICE = Path("/dev/full")


def face(label: Label = Label.MASK, confidence: float | None = 0.987654, nose_x: float = 20.0) -> Face:
    points = np.full((17, 2), 10, np.float32)
    points[0, 0] = nose_x
    detection = Detection(
        np.array([1, 2, 30.129, 40], np.float32), 0.912345, points, np.full(17, 0.5, np.float32), COCO_KEYPOINTS
    )
    quad = np.array([[1, 2], [30, 2], [30, 40], [1, 40]], np.float32)
    return Face(detection, quad, np.array([5, 6, 25, 35.5], np.float32), label, confidence)


def output(index: int, *faces: Face, analysed: bool = True) -> Output:
    return output_of(Frame(plain((0, 0, 0)), index, "entrance", index * 0.04), faces, analysed=analysed)


def refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def json_lines(path: Path) -> list[dict]:
    return [json.loads(line, parse_constant=refuse_constant) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_key_exists_and_is_null_where_it_does_not_apply(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with closing(JsonlSink(str(path))) as sink:
        sink.write(output(3, face(), face(Label.UNKNOWN, None)))
        sink.write(output(4))
    first, second = json_lines(path)
    assert set(first) == set(second) == RECORD_KEYS
    assert (first["source"], first["frame"], first["time_s"], first["file"], first["time_utc"]) == (
        "entrance",
        3,
        0.12,
        None,
        None,
    )
    assert second["faces"] == []
    known, unknown = first["faces"]
    assert set(known) == set(unknown) == FACE_KEYS
    assert (known["label"], known["confidence"], known["judged"]) == ("mask", pytest.approx(0.987654, abs=1e-4), True)
    assert (unknown["label"], unknown["confidence"]) == ("unknown", None)
    assert known["detection_box"] == {"x1": 1, "y1": 2, "x2": pytest.approx(30.129, abs=0.01), "y2": 40}
    assert known["box"] == {"x1": 5, "y1": 6, "x2": 25, "y2": 35.5}
    assert known["quad"] == [[1, 2], [30, 2], [30, 40], [1, 40]]
    assert list(known["keypoints"]) == list(COCO_KEYPOINTS)
    assert known["keypoints"]["nose"] == [20, 10, 0.5]
    assert [known[key] for key in ("id", "steady_label", "steady_confidence", "zone")] == [None] * 4


def test_live_frame_and_timing(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    frame = Frame(plain((0, 0, 0)), 0, "gate", 0.0, wall_time=datetime(2024, 5, 6, 7, 8, 9, 123456, UTC), file="a/b.jpg")
    timing_ms = dict.fromkeys(("capture", "detect", "align", "classify", "total"), 1.23456)
    result = FrameResult("gate", 0, 0.0, (), frame.wall_time, frame.file, timing_ms)
    with closing(JsonlSink(str(path))) as sink:
        sink.write(Output(frame, result, True, lambda frame, result: frame.bgr))
    (record,) = json_lines(path)
    assert datetime.fromisoformat(record["time_utc"]) == datetime(2024, 5, 6, 7, 8, 9, 123000, UTC)
    assert record["file"] == "a/b.jpg"
    assert record["timing_ms"] == pytest.approx(timing_ms, abs=0.001)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_become_null(tmp_path: Path, value: float) -> None:
    path = tmp_path / "out.jsonl"
    with closing(JsonlSink(str(path))) as sink:
        sink.write(output(0, face(nose_x=value)))
    assert json_lines(path)[0]["faces"][0]["keypoints"]["nose"] == [None, 10, 0.5]


@pytest.mark.parametrize("kind", [JsonlSink, CsvSink])
def test_frames_that_were_not_analysed_are_not_written(tmp_path: Path, kind: type[JsonlSink | CsvSink]) -> None:
    path = tmp_path / "out.txt"
    with closing(kind(str(path))) as sink:
        before = path.read_text(encoding="utf-8")
        sink.write(output(0, face(), analysed=False))
        assert path.read_text(encoding="utf-8") == before
        sink.write(output(1, face()))
        assert path.read_text(encoding="utf-8") != before


def test_csv_has_one_row_per_face(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with closing(CsvSink(str(path))) as sink:
        sink.write(output(0, face(), face(Label.UNKNOWN, None)))
        sink.write(output(1))
        sink.write(output(2, face(Label.NO_MASK, 0.75)))
    text = path.read_text(encoding="utf-8")
    assert text.split("\n")[0] == CSV_HEADER
    rows = list(csv.DictReader(text.splitlines()))
    assert [(row["frame"], row["label"]) for row in rows] == [("0", "mask"), ("0", "unknown"), ("2", "no_mask")]
    assert [row["confidence"] for row in rows] == ["0.9877", "", "0.75"]
    assert (rows[2]["time_s"], rows[2]["source"], rows[2]["id"], rows[2]["steady_label"]) == ("0.08", "entrance", "", "")
    assert [float(rows[0][edge]) for edge in ("x_min", "y_min", "x_max", "y_max")] == [5, 6, 25, 35.5]


@pytest.mark.parametrize("name", ['a "b", c\nd', "déjà vu", "undecodable \udcff"])
@pytest.mark.parametrize("kind", [JsonlSink, CsvSink])
def test_strange_source_names(tmp_path: Path, kind: type[JsonlSink | CsvSink], name: str) -> None:
    path = tmp_path / "out.txt"
    with closing(kind(str(path))) as sink:
        sink.write(output_of(Frame(plain((0, 0, 0)), 0, name, 0.0), (face(),)))
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        records = list(csv.DictReader(file)) if kind is CsvSink else [json.loads(line) for line in file]
    assert [record["source"] for record in records] == [name]


@pytest.mark.parametrize("kind", [JsonlSink, CsvSink])
def test_flushed_after_each_frame(tmp_path: Path, kind: type[JsonlSink | CsvSink]) -> None:
    path = tmp_path / "out.txt"
    with closing(kind(str(path))) as sink:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        for written in (1, 2):
            sink.write(output(written, face()))
            assert len(path.read_text(encoding="utf-8").splitlines()) == lines + written


def test_dash_is_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in (JsonlSink, CsvSink):
        sink = kind("-")
        sink.write(output(0, face()))
        sink.close()
    record, header, row = capsys.readouterr().out.splitlines()
    assert json.loads(record)["source"] == "entrance"
    assert header == CSV_HEADER
    assert row.startswith("entrance,")
    print("still open")  # noqa: T201
    assert capsys.readouterr().out == "still open\n"


@pytest.mark.parametrize("kind", [JsonlSink, CsvSink])
def test_unwritable(tmp_path: Path, kind: type[JsonlSink | CsvSink]) -> None:
    for path in (tmp_path, tmp_path / "no such folder" / "out.txt"):
        with pytest.raises(SinkError) as caught:
            kind(str(path))
        assert str(path) in str(caught.value)
        assert not isinstance(caught.value, SinkClosed)


@pytest.mark.skipif(not FULL_DEVICE.exists(), reason="needs /dev/full, which Linux has")
def test_full_disk_is_a_sink_error_and_nothing_else() -> None:
    sink = JsonlSink(str(FULL_DEVICE))
    with pytest.raises(SinkError, match="No space left"):
        sink.write(output(0, face()))
    sink.close()
    with pytest.raises(SinkError, match="No space left"):
        CsvSink(str(FULL_DEVICE))


CLOSED_BY_ITS_READER = """
import sys
from maskstream.errors import SinkClosed
from maskstream.sinks import CsvSink, JsonlSink, StatusSink
from tests.sinks.test_records import face, output

sink = {"JsonlSink": JsonlSink, "CsvSink": CsvSink}[sys.argv[1]]("-")
try:
    for index in range(100_000):
        sink.write(output(index, face()))
except SinkClosed:
    sink.close()
    sys.exit(7)
"""


@pytest.mark.parametrize("kind", ["JsonlSink", "CsvSink"])
def test_a_reader_that_closes_the_pipe_ends_the_run_quietly(kind: str) -> None:
    command = [sys.executable, "-c", CLOSED_BY_ITS_READER, kind]
    with Forked(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline()
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(LONGEST_S) == 7


def read_one_line(pipe: Path, lines: list[str]) -> None:
    with pipe.open() as file:
        lines.append(file.readline())


@pytest.mark.parametrize("kind", [JsonlSink, CsvSink])
@pytest.mark.parametrize("mode", ["w", "a"])
def test_a_pipe_waits_for_its_reader_and_ends_quietly_with_it(
    tmp_path: Path, said: list[str], kind: type[JsonlSink | CsvSink], mode: Literal["w", "a"]
) -> None:
    pipe, lines = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=read_one_line, args=(pipe, lines))
    waited = logger.add(lambda _: reader.start(), filter=lambda record: "waits for a reader" in record["message"])
    try:
        sink = kind(str(pipe), mode)
    finally:
        logger.remove(waited)
    with closing(sink):
        written = (sink.write(output(index, face())) for index in range(100_000))
        with pytest.raises(SinkClosed):
            list(written)
    reader.join()
    assert said == [f"WARNING {pipe}: waits for a reader of this pipe\n"]
    assert lines[0].startswith(CSV_HEADER if kind is CsvSink else '{"source": "entrance"')


def test_a_pipe_that_has_a_reader_is_opened_once(tmp_path: Path, said: list[str]) -> None:
    """A reader such as `cat` ends when the first writer closes."""
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    with closing(JsonlSink(str(pipe))) as sink:
        sink.write(output(0, face()))
        sink.write(output(1))
    reader.join()
    assert [json.loads(line)["frame"] for line in read[0].splitlines()] == [0, 1]
    assert [line for line in said if "waits" not in line] == []


@pytest.mark.parametrize("kind", [JsonlSink, CsvSink])
def test_a_file_is_continued(tmp_path: Path, said: list[str], kind: type[JsonlSink | CsvSink]) -> None:
    path = tmp_path / "out.txt"
    for index in range(3):
        with closing(kind(str(path), "a")) as sink:
            sink.write(output(index, face()))
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(lines)) if kind is CsvSink else [json.loads(line) for line in lines]
    assert [int(row["frame"]) for row in rows] == [0, 1, 2]
    assert [line.split(": continued")[0] for line in said] == [f"INFO {path}"] * 2


@pytest.mark.parametrize(
    ("torn", "kept"),
    [("gate,,0,0.0,,,mas", "gate,,0,0.0,,,mas"), ('"a ""b"", c', '"a ""b"", c"'), ('"a ""b"""', '"a ""b"""')],
)
def test_an_incomplete_row_does_not_damage_others(tmp_path: Path, torn: str, kept: str) -> None:
    path = tmp_path / "out.csv"
    path.write_text(f"{CSV_HEADER}\n{torn}")
    with closing(CsvSink(str(path), "a")) as sink:
        sink.write(output(7, face()))
    _, mended, row = path.read_text().splitlines()
    assert mended == kept
    assert row.startswith("entrance,,7,")
    assert [found[0] for found in csv.reader(path.read_text().splitlines())][-1] == "entrance"


def test_an_incomplete_record_stays_on_its_line(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text('{"source": "a"}\n{"source": "')
    with closing(JsonlSink(str(path), "a")) as sink:
        sink.write(output(7))
    assert json.loads(path.read_text().splitlines()[2])["frame"] == 7


def test_rows_with_other_columns_are_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("time,value\n1,2\n")
    with pytest.raises(SinkError, match="begins with other columns"):
        CsvSink(str(path), "a")
    assert path.read_text() == "time,value\n1,2\n"


def test_the_byte_order_mark_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    for index in range(2):
        with closing(CsvSink(str(path), "a", bom=True)) as sink:
            sink.write(output(index, face()))
    assert path.read_bytes().startswith(b"\xef\xbb\xbfsource,file")
    assert path.read_bytes().count(b"\xef\xbb\xbf") == 1
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert [row["frame"] for row in csv.DictReader(file)] == ["0", "1"]


def test_a_name_is_not_a_formula_and_a_number_stays_a_number(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    made = face()
    low = replace(made, face_box_xyxy=np.array([-5, 6, 25, 35.5], np.float32))
    with closing(CsvSink(str(path))) as sink:
        sink.write(output_of(Frame(plain((0, 0, 0)), 0, "=cmd|' /C calc'!A0", 0.0), (low,)))
    with path.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["source"], float(row["x_min"])) == ("'=cmd|' /C calc'!A0", -5)


def test_records_of_states_are_continued(tmp_path: Path) -> None:
    path = tmp_path / "status.jsonl"
    path.write_text('{"source": "a"}\n')
    StatusSink(str(path), "a").close()
    assert path.read_text() == '{"source": "a"}\n'


def test_a_file_that_the_shell_has_opened_is_not_opened_again(tmp_path: Path) -> None:
    """As with `--jsonl /dev/fd/3 3>> log`."""
    path = tmp_path / "log"
    path.write_text("before\n")
    with path.open("a") as file, closing(JsonlSink(f"/dev/fd/{file.fileno()}")) as sink:
        sink.write(output(0))
        file.write("after\n")
    before, record, after = path.read_text().splitlines()
    assert (before, json.loads(record)["frame"], after) == ("before", 0, "after")
