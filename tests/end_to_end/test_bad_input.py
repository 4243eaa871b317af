"""What a user can get wrong: one clear line, the documented exit code, nothing half-written."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

import run_stream
from maskstream.types import BgrImage
from tests.conftest import DEMO, ROOT
from tests.end_to_end.test_run_stream import command, decode, run
from tests.ports import free_port
from tests.servers import content, http_server, locked, status
from tests.slowness import LONGEST_S
from tests.video_files import every, write_sound, write_video

_HOOK = "{url: 'http://h/a'}"
CASES = {
    "a missing file": (["--source", "none.mp4"], 3, "none.mp4: no such file"),
    "an empty file": (["--source", "empty.mp4"], 3, "empty.mp4: the file is empty"),
    "text named .mp4": (["--source", "text.mp4"], 3, "text.mp4: not a video that FFmpeg can read"),
    "sound alone": (["--source", "sound.mp4"], 3, "sound.mp4: it contains no video"),
    "a truncated MP4 without its index": (["--source", "no_index.mp4"], 3, "no_index.mp4: not a video"),
    "a folder without pictures": (["--source", "folder"], 3, "folder: no image or video in this folder"),
    "a glob without pictures": (["--source", "*.jpeg"], 3, "*.jpeg: "),
    "a missing picture": (["--source", "none.jpg"], 3, "none.jpg: no such file"),
    "text named .jpg": (["--source", "text.jpg"], 3, "text.jpg: "),
    "a webcam that is not there": (["--source", "97"], 3, "webcam 97: it does not exist"),
    "a refused port, RTSP": (["--source", "rtsp://me:secret@127.0.0.1:REFUSED/1"], 3, "the connection was refused"),
    "a refused port, HTTP": (["--source", "http://127.0.0.1:REFUSED/1"], 3, "the connection was refused"),
    "a wrong password": (["--source", "http://me:secret@HOST/locked.mp4"], 3, "(401)"),
    "a wrong path": (["--source", "http://HOST/none.mp4"], 3, "(404)"),
    "an unknown scheme": (["--source", "gopher://me:secret@cam/1"], 3, "gopher:// is not supported"),
    "a host of no name": (["--source", "rtsp://no-such-host.invalid/1"], 3, "no-such-host.invalid"),
    "damaged weights": (["--source", "DEMO", "--classifier", "damaged.safetensors"], 4, "damaged.safetensors: damaged, "),
    "weights of another model": (["--source", "DEMO", "--classifier", "DETECTOR"], 4, "contains a 'face_mobilenet'"),
    "a folder that is not there": (["--source", "DEMO", "--output", "none/out.mp4"], 5, "does not exist; create it"),
    "output over input": (["--source", "clip.mp4", "--output", "clip.mp4"], 5, "would replace its own source"),
    "pictures over themselves": (["--source", "photos", "--output", "photos"], 5, "would replace its own source"),
    "records over a picture": (["--source", "photos", "--jsonl", "photos/a.png"], 5, "would replace its own source"),
    "pictures into a video": (["--source", "photos", "--output", "out.mp4"], 5, "out.mp4: "),
    "a video into a picture": (["--source", "clip.mp4", "--output", "out.jpg"], 5, "let the name end in .mp4"),
    "several into a file": (["--source", "clip.mp4", "--source", "photos", "--output", "text.jpg"], 5, "text.jpg"),
    "no folder for records": (["--source", "DEMO", "--jsonl", "none/out.jsonl"], 5, "cannot be written"),
    "another container": (["--source", "DEMO", "--output", "out.flv"], 5, "let the name end in .mp4"),
    "missing weights": (["--source", "DEMO", "--classifier", "none.safetensors"], 4, "no such weights file"),
    "a word for a number": (["--stride", "x"], 2, "--stride: invalid int value"),
    "a stride of nothing": (["--source", "DEMO", "--stride", "0"], 2, "--stride: stream.stride: 0 is not allowed"),
    "no probability": (["--source", "DEMO", "--min-score", "1.5"], 2, "--min-score: detector.min_score: 1.5 is not allowed"),
    "a missing config": (["--source", "DEMO", "--config", "none.yaml"], 2, "none.yaml: cannot be read"),
    "a value out of range": (["--source", "DEMO", "--set", "video.crf=99"], 2, "video.crf: 99 is not allowed"),
    "an unknown detector": (["--source", "DEMO", "--detector", "yolo"], 2, "allowed: face_mobilenet, coco_resnet50"),
    "an unknown device": (["--source", "DEMO", "--device", "abacus"], 2, "'abacus' cannot be used here"),
    "a source given twice": (["--source", "DEMO", "--source", "DEMO"], 2, "given twice"),
    "an output given twice": (["--source", "DEMO", "--jsonl", "a", "--csv", "a"], 2, "given for two outputs"),
    "an output in two spellings": (["--source", "DEMO", "--jsonl", "a", "--csv", "folder/../a"], 2, "the other time as a"),
    "standard output twice": (
        ["--source", "DEMO", "--jsonl", "-", "--csv", "/dev/stdout"],
        2,
        "/dev/stdout: given for two outputs",
    ),
    "records over a copy": (["--source", "photos", "--output", "folder", "--csv", "folder/a.png"], 2, "given for two outputs"),
    "records over the video": (["--source", "DEMO", "--output", "o.mp4", "--csv", "./o.mp4"], 2, "given for two outputs"),
    "records over the source": (["--source", "clip.mp4", "--csv", "same.mp4"], 5, "same.mp4: the output would replace its own"),
    "records over a list": (["--source", "list.yaml", "--csv", "list.yaml"], 5, "would replace the list of cameras"),
    "records over settings": (["--source", "DEMO", "--config", "empty.yaml", "--csv", "empty.yaml"], 5, "that the run reads"),
    "what is there": (["--source", "DEMO", "--csv", "text.jpg", "--no-overwrite"], 5, "text.jpg: already exists"),
    "a summary into a pipe": (["--source", "DEMO", "--summary", "pipe"], 5, "pipe: is a pipe or device, not a file"),
    "a video into a pipe": (["--source", "DEMO", "--output", "pipe.mp4"], 5, "pipe.mp4: is a pipe or device, not a file"),
    "a camera that is two": (["--source", "twice.yaml"], 2, "twice.yaml: line 3: the key name is given twice (first in line 1)"),
    "events of nobody": (["--source", "DEMO", "--events", "e", "--set", "tracking.enabled=false"], 2, "tracking.enabled: false"),
    "no folder for events": (["--source", "DEMO", "--events", "none/e.jsonl"], 5, "does not exist; create it"),
    "no folder for a summary": (["--source", "DEMO", "--summary", "none/s.json"], 5, "does not exist; create it"),
    "a picture for a summary": (["--source", "DEMO", "--summary", "s.png"], 5, "s.png: the summary is JSON"),
    "a summary over a picture": (["--source", "photos", "--summary", "photos/a.json"], 5, "would replace its own source"),
    "a broker of another kind": (["--source", "DEMO", "--set", "events.mqtt=http://host"], 2, "events.mqtt: not an mqtt://"),
    "a secret that is not there": (["--source", "DEMO", "--set", "events.mqtt=mqtt://u:${NOT_SET}@h"], 2, "NOT_SET is not set"),
    "no address to post to": (["--source", "DEMO", "--set", "events.webhooks=[{url: host/path}]"], 2, "webhooks: url is not"),
    "an address given twice": (["--source", "DEMO", "--set", f"events.webhooks=[{_HOOK}, {_HOOK}]"], 2, "given twice"),
    "an unknown label": (["--source", "DEMO", "--set", "events.labels=[bare]"], 2, "events.labels: 'bare' is not allowed"),
    "a zone without area": (["--source", "DEMO", "--set", "zones={a: [[0, 0], [1, 1], [0.5, 0.5]]}"], 2, "zones.a: "),
    "a zone in pixels": (["--source", "DEMO", "--set", "zones={a: [[0, 0], [640, 0], [0, 480]]}"], 2, "zones.a: 640"),
    "half a blur": (["--source", "DEMO", "--set", "privacy.blur=some"], 2, "privacy.blur: 'some' is not allowed"),
    "a time of no length": (["--source", "DEMO", "--segment", "soon"], 2, "'soon' is not a time; give seconds, minutes or hours"),
    "an unknown option": (["--source", "DEMO", "--color"], 2, "unrecognized arguments: --color"),
    "nothing": ([], 2, "--source is missing"),
    "nonsense for a config": (["--source", "DEMO", "--config", "text.mp4"], 2, "text.mp4: "),
    "an unknown key": (["--source", "DEMO", "--config", "wrong.yaml"], 2, "wrong.yaml: unknown key detector.min_scores"),
    "a wrong value": (["--source", "DEMO", "--set", "network.transport=carrier"], 2, "network.transport: 'carrier'"),
    "a wrong list of cameras": (["--source", "cameras.yaml"], 2, "the environment variable NOT_SET is not set"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, face_bgr: BgrImage) -> Path:
    """Everything the cases name."""
    folder = tmp_path_factory.mktemp("bad_input")
    (folder / "folder").mkdir()
    (folder / "photos").mkdir()
    (folder / "empty.mp4").touch()
    for name in ("text.mp4", "text.jpg"):
        (folder / name).write_text("Sehr geehrte Damen und Herren")
    (folder / "wrong.yaml").write_text("detector: {min_scores: 0.5}")
    (folder / "cameras.yaml").write_text("- {name: gate, url: 'rtsp://${NOT_SET}@cam/1'}")
    (folder / "list.yaml").write_text("- {name: gate, url: clip.mp4}")
    (folder / "twice.yaml").write_text("- name: gate\n  url: clip.mp4\n  name: hall\n  url: clip.mp4\n")
    (folder / "empty.yaml").touch()
    for name in ("pipe", "pipe.mp4"):
        os.mkfifo(folder / name)
    write_sound(folder / "sound.mp4")
    shutil.copy(DEMO, folder / "clip.mp4")
    (folder / "same.mp4").hardlink_to(folder / "clip.mp4")
    (folder / "no_index.mp4").write_bytes(write_video(folder / "whole.mp4", every(0.04, 50)).read_bytes()[:-600])
    cv2.imwrite(str(folder / "photos" / "a.png"), face_bgr)
    weights = bytearray((ROOT / "weights" / "mask_mobilenet.safetensors").read_bytes())
    weights[len(weights) // 2] ^= 0xFF
    (folder / "damaged.safetensors").write_bytes(weights)
    return folder


@pytest.fixture(scope="module")
def places() -> Iterator[dict[str, str]]:
    """What stands for words in the cases."""
    answers = {"/locked.mp4": locked(content(DEMO.read_bytes(), "video/mp4")), "/none.mp4": status(404)}
    with http_server(answers) as address:
        yield {
            "DEMO": str(DEMO),
            "DETECTOR": str(ROOT / "weights" / "face_mobilenet.safetensors"),
            "REFUSED": str(free_port()),
            "HOST": address.removeprefix("http://"),
        }


def put(argument: str, places: dict[str, str]) -> str:
    """Return an argument with what its words stand for."""
    for word, meant in places.items():
        argument = argument.replace(word, meant)
    return argument


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_one_line_and_its_exit_code(
    case: str,
    folder: Path,
    places: dict[str, str],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments, code, said = CASES[case]
    arguments = [put(argument, places) for argument in arguments]
    monkeypatch.chdir(folder)
    monkeypatch.delenv("NOT_SET", raising=False)
    before = contents(folder)
    try:
        returned = run_stream.main(["--quiet", "--max-reconnects", "0", *arguments])
    except SystemExit as left:  # argparse leaves this way
        returned = int(left.code or 0)
    out, err = capfd.readouterr()
    assert (returned, out) == (code, "")
    assert said in err
    assert err.count("\n") == 1
    assert "secret" not in err
    assert contents(folder) == before


def test_no_mistake_waits_for_the_models(folder: Path, places: dict[str, str]) -> None:
    """What takes seconds to import is not imported, but where weights are wrong."""
    cases = [arguments for arguments, code, _ in CASES.values() if code != 4]
    runs = [[put(argument, places) for argument in arguments] for arguments in cases]
    code = (
        "import contextlib, io, json, sys; sys.path.insert(0, sys.argv[1]); import run_stream, maskstream.cli.opening\n"
        "maskstream.cli.opening._AT_ONCE_S = 60\n"  # on a busy machine, too
        "for arguments in json.load(sys.stdin):\n"
        "    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "        assert run_stream.main(['--quiet', '--max-reconnects', '0', *arguments])\n"
        "    for name in {'torch', 'openvino', 'onnxruntime', 'scipy', 'matplotlib'} & set(sys.modules):\n"
        "        sys.exit(f'{arguments}: {name} is imported')"
    )
    asked = [sys.executable, "-c", code, str(ROOT)]
    done = subprocess.run(
        asked, cwd=folder, input=json.dumps(runs), capture_output=True, text=True, timeout=LONGEST_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_truncated_video_is_analysed_as_far_as_it_goes(tmp_path: Path) -> None:
    """Its index is at the front, as in what is made for the web."""
    clip = write_video(tmp_path / "clip.mp4", every(0.04, 100), size=(320, 240), container_options={"movflags": "faststart"})
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    done = run("--source", clip, "--output", tmp_path / "out.mp4", "--stride", "10")
    assert done.returncode == 0, done.stderr
    assert "truncated" in done.stderr
    assert 10 < len(decode(tmp_path / "out.mp4")) < 90


def run_as_anyone(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    asked = command("--quiet", *arguments)
    if os.geteuid() == 0:  # whom only the loss of these capabilities stops
        asked = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *asked]
    return subprocess.run(asked, capture_output=True, text=True, timeout=LONGEST_S, check=False)


@pytest.mark.parametrize(
    ("option", "name", "code"),
    [
        *(("--source", name, 3) for name in ("a.mp4", "a.jpg", "a.yaml")),
        *(("--config", "a.yaml", 2), ("--classifier", "a.safetensors", 4)),
        *(("--output", "a.mp4", 5), ("--jsonl", "a.jsonl", 5)),
    ],
)
def test_a_folder_that_may_not_be_looked_into(tmp_path: Path, option: str, name: str, code: int) -> None:
    (tmp_path / "secret" / "deep").mkdir(parents=True)
    (tmp_path / "secret").chmod(0)
    path = tmp_path / "secret" / "deep" / name
    done = run_as_anyone(option, path, *(() if option == "--source" else ("--source", DEMO)))
    (tmp_path / "secret").chmod(0o700)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"{path}: ")
    assert done.stderr.count("\n") == 1


def test_a_folder_that_may_not_be_written_to(tmp_path: Path) -> None:
    folder = tmp_path / "read_only"
    folder.mkdir(mode=0o555)
    done = run_as_anyone("--source", DEMO, "--output", folder / "out.mp4")
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == f"{folder / 'out.mp4'}: cannot be written: Permission denied; choose another place\n"
    assert list(folder.iterdir()) == []
