"""Standard output and error that are closed, full, or left by their reader: the right exit code, and one line."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_lines import Forked, run
from tests.conftest import DEMO, ROOT
from tests.slowness import LONGEST_S

FULL_DEVICE = Path("/dev/full")
SAID = "standard output: cannot be written: "
ENDS = {
    ">&-": (5, SAID + "Bad file descriptor; open it, or make room\n"),
    ">&- <&-": (5, SAID + "Bad file descriptor; open it, or make room\n"),
    ">&- 2>&-": (5, ""),
    "> /dev/full": (5, SAID + "No space left on device; open it, or make room\n"),
    "| true": (0, ""),
    "> /dev/null 2>&-": (0, ""),
    "> /dev/null 2> /dev/full": (0, ""),
}
"""Exit codes, and what standard error gets, of what prints something."""
needs_full_device = pytest.mark.skipif(not FULL_DEVICE.exists(), reason="needs /dev/full, which Linux has")


@needs_full_device
@pytest.mark.parametrize(
    ("asked", "unbuffered"),
    [
        ("-m maskstream --version", ""),
        ("run_stream.py --version", "1"),
        ("tools/evaluate.py --help", "1"),
        ("-m maskstream completion zsh", ""),
    ],
)
def test_what_is_printed_and_cannot_be(asked: str, unbuffered: str) -> None:
    """Each answer is larger or smaller than the buffer, and printed by us or by argparse."""
    command = f"{shlex.quote(sys.executable)} {asked}"
    assert {streams: ended(command, streams, unbuffered) for streams in ENDS} == ENDS


def ended(command: str, streams: str, unbuffered: str) -> tuple[int, str]:
    """Return exit code and standard error of a command whose streams a shell has bent."""
    script = f"{{ {{ {command}; echo $? >&3; }} {streams}; }} 3>&1"
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        timeout=LONGEST_S,
    )
    return int(done.stdout), done.stderr


def options(*more: str | Path) -> list[str]:
    return [sys.executable, str(ROOT / "run_stream.py"), "--source", str(DEMO), "--max-frames", "3", *map(str, more)]


def test_records_for_a_closed_output_are_refused_before_the_models_are_loaded() -> None:
    code, said = ended(f"{shlex.join(options('--jsonl', '-', '--classifier', 'none.safetensors'))} --quiet", ">&-", "")
    assert (code, said) == (5, "-: cannot be written: standard output is closed; choose another place\n")


def test_a_run_that_prints_nothing_needs_no_output(tmp_path: Path) -> None:
    """What is written to files does not end up in the place of a stream that was closed, nor the other way round."""
    command = shlex.join(options("--jsonl", tmp_path / "a.jsonl", "--output", tmp_path / "a.mp4"))
    assert ended(command, ">&- 2>&- <&-", "") == (0, "")
    assert [json.loads(line)["frame"] for line in (tmp_path / "a.jsonl").read_text().splitlines()] == [0, 1, 2]


@pytest.mark.slow
@needs_full_device
@pytest.mark.parametrize("option", ["--jsonl", "--csv", "--events", "--status"])
def test_a_full_disk_behind_standard_output(option: str) -> None:
    source = (
        ["--source", str(ROOT / "assets" / "demo_frame.jpg"), "--source", "rtsp://127.0.0.1:9/"] if option == "--status" else []
    )
    with FULL_DEVICE.open("w") as full:
        done = run([*options(option, "-", "--quiet"), *source, "--max-reconnects", "0"], text=True, stdout=full)
    assert done.returncode == 5
    assert f"{SAID}No space left on device" in done.stderr


def test_a_log_without_a_reader_does_not_end_a_run(tmp_path: Path) -> None:
    records = tmp_path / "a.jsonl"
    asked = options("--jsonl", records, "--summary", tmp_path / "s.json", "--log-level", "trace")
    with Forked(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        process.stderr.close()
        assert process.wait(LONGEST_S) == 0
    assert len(records.read_text().splitlines()) == 3
    assert (tmp_path / "s.png").exists()


def test_a_name_does_not_tear_the_log(tmp_path: Path) -> None:
    name = "a\n12:00:00 ERROR   made up\x1b[2J.mp4"
    (tmp_path / name).symlink_to(DEMO)
    done = run([sys.executable, str(ROOT / "run_stream.py"), "--source", name, "--max-frames", "1"], cwd=tmp_path, text=True)
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert [line.split()[1] for line in lines] == ["INFO"] * len(lines)
    assert "a\\n12:00:00 ERROR   made up\\x1b[2J.mp4: 640x360" in lines[0]
