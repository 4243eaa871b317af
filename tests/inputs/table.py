"""One row of the table of inputs: how the input is made, what a user types, and the result."""

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import av

from tests import command_lines
from tests.command_lines import ROOT

DEMO: Final = ROOT / "assets" / "demo.mp4"
PROGRAM: Final = "run_stream.py"
PLAIN: Final = "clip.mp4"
"""The plain file, which is in the folder of each row; the rows are compared with it."""
LENGTH_S: Final = 1.0
"""Duration of the plain file."""
FRAMES: Final = 25
"""Frames of the plain file."""
FACES_OFF: Final = 0.06
"""Fraction of the faces of the plain file that may be missing or additional: codecs blur."""
LENGTH_OFF_S: Final = 0.15
"""Tolerance of the duration of an output and of its audio."""
LASTS_AT_MOST_S: Final = 180.0
"""After this time a run is killed, and has failed."""
_RECORDS: Final = "faces.jsonl"
_LEVELS: Final = re.compile(r"^\d\d:\d\d:\d\d (?:INFO|WARNING|ERROR) +")

Scene = Callable[[Path], AbstractContextManager[str]]
"""Makes files in a folder, or runs a server, while the command runs; yields the text for `{}` in the command."""


@dataclass(frozen=True)
class Row:
    """One input."""

    name: str
    source: str
    """Value of `--source`, as a user types it; `{}` is replaced by the text that the scene yields."""
    options: str = ""
    """Further options; records are always written."""
    ffmpeg: str = ""
    """Arguments after `ffmpeg -i clip.mp4` that make the files."""
    scene: Scene | None = None
    """Further files or servers, made after `ffmpeg`."""
    made: str = ""
    """Description of the scene."""
    stdin: str = ""
    """A file that is piped to standard input."""
    code: int = 0
    """Expected exit code."""
    frames: int | tuple[int, int] = FRAMES
    """Expected number of analysed frames, or minimum and maximum."""
    faces: float | None = 1.0
    """Expected number of faces, as a fraction of those of the plain file in the same number of frames; None: not compared."""
    people: int | None = None
    """Maximum number of people; None: that of the plain file."""
    says: str = ""
    """Regular expression that must match a line of the log; if the command fails, the last line."""
    outputs: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    """Frames and seconds of each video that must be written, by its name."""
    sound: bool = False
    """Whether the written videos must have audio of the same duration."""


@dataclass(frozen=True)
class Seen:
    """The result of a row."""

    row: Row
    code: int
    frames: int
    faces: int
    people: int
    line: str
    """Last line of the log, or the one that matches `Row.says`."""
    faults: tuple[str, ...]
    lasted_s: float

    def cells(self) -> list[str]:
        """Return the cells of the row in Markdown."""
        row = self.row
        shown = self.line if row.code or row.says else ""
        for name, (frames, length_s) in row.outputs.items():
            shown = f"{shown}; {name}: {frames} frames in {length_s:g} s".removeprefix("; ")
        counted = [str(number) if self.frames else "" for number in (self.frames, self.faces, self.people)]
        return [named(row), f"`{typed(row)}`", str(self.code), *counted, shown, "; ".join(self.faults) or "yes"]


def named(row: Row) -> str:
    """Return the name of a row, with the command that makes its input."""
    made = f"`ffmpeg -i {PLAIN} {row.ffmpeg}`" if row.ffmpeg else row.made
    return f"{row.name}: {made}" if made else row.name


def typed(row: Row) -> str:
    """Return the command as a user types it."""
    feed = f"cat {row.stdin} | " if row.stdin else ""
    source = row.source.replace(":{}", ":PORT").replace("{}", "/FOLDER" if row.source.startswith("file:") else "HOST")
    return f"{feed}{PROGRAM} --source {source} {row.options}".strip()


ITSELF: Final = Row("the plain file", PLAIN)
"""The row that all others are compared with."""


def make_base(folder: Path) -> None:
    """Write the files that all rows use."""
    coded = ["-c:v", "libx264", "-crf", "14", "-g", "25", "-c:a", "aac"]
    ffmpeg(folder, "-t", f"{LENGTH_S:g}", "-i", str(DEMO), *coded, PLAIN)
    ffmpeg(folder, "-i", str(DEMO), "-frames:v", "1", "photo.png")


def attempt(row: Row, base: Path, folder: Path, plain: Seen | None) -> Seen:
    """Make the input of a row, run the command, and check the result.

    Args:
        row: The row to run.
        base: Files that all rows use: `clip.mp4` and `photo.png`.
        folder: An empty one, in which the command runs.
        plain: Result of the plain file; None: this row is the plain file.
    """
    for file in base.iterdir():
        (folder / file.name).hardlink_to(file)
    if row.ffmpeg:
        ffmpeg(folder, "-i", PLAIN, *shlex.split(row.ffmpeg))
    with row.scene(folder) if row.scene else nullcontext("") as filled:
        began_s = time.monotonic()
        done = _run(row, folder, filled)
        lasted_s = time.monotonic() - began_s
    records = _records(folder / _RECORDS)
    faces = [face for record in records for face in record["faces"]]
    people = {(record["source"], face["id"]) for record in records for face in record["faces"] if face["id"] is not None}
    line = _telling_line(row, done, folder)
    seen = Seen(row, done.returncode, len(records), len(faces), len(people), line, (), lasted_s)
    faults = [*faults_of(seen, plain), *_output_faults(row, folder)]
    if "Traceback" in done.stderr:
        faults.append("a traceback")
    return Seen(row, seen.code, seen.frames, seen.faces, seen.people, seen.line, tuple(faults), lasted_s)


def ffmpeg(folder: Path, *arguments: str) -> None:
    """Run ffmpeg in a folder; its errors are raised."""
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)}: {done.stderr.strip()}")


def _run(row: Row, folder: Path, filled: str) -> "subprocess.CompletedProcess[str]":
    source = row.source.replace("{}", filled)
    options = [word.replace("{}", filled) for word in shlex.split(row.options)]
    # A name that begins with a dash, and one with blanks, are typed in one word or in quotes: the shell takes these away.
    given = shlex.split(source) if source.startswith(("'", '"')) else [source]
    command = [sys.executable, str(ROOT / PROGRAM), "--source", *given, *options, "--jsonl", _RECORDS]
    with _piped(folder / row.stdin if row.stdin else None) as fed:
        try:
            return command_lines.run(command, cwd=folder, stdin=fed, text=True, timeout=LASTS_AT_MOST_S)
        except subprocess.TimeoutExpired as hanging:
            said = hanging.stderr or b""
            text = said.decode(errors="replace") if isinstance(said, bytes) else said
            return subprocess.CompletedProcess(command, -9, "", f"{text}\nkilled after {LASTS_AT_MOST_S:g} s")


@contextmanager
def _piped(path: Path | None) -> Iterator[IO[bytes] | int]:
    """Yield standard input: a pipe with the content of a file, or nothing."""
    if path is None:
        yield subprocess.DEVNULL
        return
    with subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE) as feeder:
        assert feeder.stdout is not None
        yield feeder.stdout
        feeder.kill()


def _records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _telling_line(row: Row, done: "subprocess.CompletedProcess[str]", folder: Path) -> str:
    """Return the last line of the log, or after exit code 0 the first that matches `Row.says`."""
    lines = [_LEVELS.sub("", line) for line in _without(folder, done.stderr).splitlines() if line.strip()]
    telling = [line for line in lines if row.says and not done.returncode and re.search(row.says, line)]
    said = (telling or lines[-1:] or [""])[0]
    return re.sub(r"(?<=127\.0\.0\.1:)\d+", "PORT", said)


def faults_of(seen: Seen, plain: Seen | None) -> list[str]:
    """Return the differences from the expected result."""
    row, faults = seen.row, []
    if seen.code != row.code:
        faults.append(f"exit code {seen.code} for {row.code}: {seen.line}")
    least, most = row.frames if isinstance(row.frames, tuple) else (row.frames, row.frames)
    if row.code:
        least = most = 0
    if not least <= seen.frames <= most:
        faults.append(f"{seen.frames} frames for {least}{f' to {most}' if most > least else ''}")
    if plain and row.faces is not None and seen.frames:
        expected = row.faces * plain.faces / plain.frames * seen.frames
        if abs(seen.faces - expected) > max(1.0, FACES_OFF * expected):
            faults.append(f"{seen.faces} faces for {expected:.0f}")
        if seen.people > (row.people or plain.people):
            faults.append(f"{seen.people} people for {row.people or plain.people}")
    if row.says and not re.search(row.says, seen.line):
        faults.append(f"says: {seen.line!r} for {row.says!r}")
    return faults


def _output_faults(row: Row, folder: Path) -> list[str]:
    """Return the videos that are missing, incomplete, or of another duration."""
    faults = []
    for name, (frames, length_s) in row.outputs.items():
        try:
            decoded, lasts_s, sound_s = decoded_video(folder / name)
        except (OSError, av.FFmpegError) as error:
            faults.append(f"{name}: {_without(folder, str(error))}")
            continue
        if decoded != frames or abs(lasts_s - length_s) > LENGTH_OFF_S:
            faults.append(f"{name}: {decoded} frames in {lasts_s:.2f} s for {frames} in {length_s:g} s")
        if row.sound and abs(sound_s - length_s) > LENGTH_OFF_S:
            faults.append(f"{name}: {sound_s:.2f} s of audio for {length_s:g} s")
    return faults


def decoded_video(path: Path) -> tuple[int, float, float]:
    """Return the frames of a video, the duration of the file, and the duration of its audio, in seconds."""
    with av.open(path) as container:
        frames = sum(1 for _ in container.decode(video=0))
        lasts_s = float(container.duration or 0) / av.time_base
    with av.open(path) as container:
        heard = container.decode(audio=0) if container.streams.audio else ()
        sound_s = sum(block.samples / block.sample_rate for block in heard)
    return frames, lasts_s, sound_s


def _without(folder: Path, text: str) -> str:
    return text.replace(f"{folder}/", "").replace(str(folder), ".")


def markdown(title: str, lines: Sequence[str]) -> str:
    """Return a section of Markdown with a table."""
    heads = ("input", "command", "exit code", "frames", "faces", "people", "log, output", "as promised")
    return "\n".join([f"## {title}", "", f"| {' | '.join(heads)} |", "|" + "---|" * len(heads), *lines, ""])


def line_of(seen: Seen) -> str:
    """Return a line of a table in Markdown."""
    return f"| {' | '.join(map(_cell, seen.cells()))} |"


def beginning_of(row: Row) -> str:
    """Return the beginning of the line of a row, which is unique in its section."""
    return f"| {_cell(named(row))} |"


def lines_of(report: str) -> dict[str, list[str]]:
    """Return the lines of all tables in a report, by the titles of their sections."""
    lines: dict[str, list[str]] = {}
    title = ""
    for line in report.splitlines():
        if line.startswith("## "):
            title = line[3:]
        elif line.startswith("| "):
            lines.setdefault(title, []).append(line)
    return lines


def _cell(text: str) -> str:
    shown = text.encode(errors="backslashreplace").decode()
    return re.sub(r"(?<!\\)\|", r"\\|", shown).replace("\n", " ").replace("<", "&lt;")
