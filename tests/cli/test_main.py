"""The command `maskstream`: each subcommand exists, does the same as its script, and has the right exit codes."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest
from setproctitle import getproctitle, setproctitle

import run_stream
from maskstream import __version__
from maskstream.benchmark.session import COMPARISONS
from maskstream.benchmark.sweeps import SWEEPS
from maskstream.cli import benchmark, fault_drill
from maskstream.cli.main import COMMANDS, command_line, main
from maskstream.errors import ConfigError
from tests.conftest import DEMO, ROOT
from tests.tools.loading import Main, main_of

SCRIPTS = [name for name in COMMANDS if (ROOT / "tools" / f"{name.replace('-', '_')}.py").exists()]
HEAVY = {"av", "cv2", "loguru", "numpy", "openvino", "pydantic", "rich", "torch", "torchvision", "yaml"}
SAY_WHAT_IS_LOADED = """
import json, sys
from maskstream.cli.main import main
codes = []
for arguments in json.loads(sys.argv[1]):
    try:
        codes.append(main(arguments))
    except SystemExit as left:
        codes.append(left.code or 0)
print(json.dumps([codes, sorted(name for name in sys.modules if "." not in name)]))
"""


def shown(command: Main, arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the output of a command that only prints something."""
    with pytest.raises(SystemExit) as left:
        command(arguments)
    out, err = capsys.readouterr()
    assert (left.value.code or 0, err) == (0, "")
    return " ".join(out.split())


def refusal(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line with which a usage error is reported."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    out, err = capsys.readouterr()
    assert (left.value.code, out, err.count("\n")) == (2, "", 1)
    return err


def test_help_names_every_subcommand_and_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(main, ["--help"], capsys)
    assert [name for name, summary in COMMANDS.items() if f"{name} {summary}" not in said] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_each_subcommand_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(main, [name, "--help"], capsys)
    assert said.startswith(f"usage: maskstream {name} ")
    assert COMMANDS[name][1:] in said


def test_run_has_the_options_of_run_stream(capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(main, ["run", "--help"], capsys)
    assert said.replace("maskstream run", "run_stream.py") == shown(run_stream.main, ["--help"], capsys)
    assert "--max-reconnects N" in said


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_subcommand_has_the_options_of_its_script(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    script = name.replace("-", "_")
    said = shown(main, [name, "--help"], capsys)
    assert said.replace(f"maskstream {name}", f"tools/{script}.py") == shown(main_of(script), ["--help"], capsys)


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(main, ["--version"], capsys) == f"maskstream {__version__}"
    assert main(["run", "--version"]) == 0
    assert capsys.readouterr() == (f"maskstream {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: COMMAND; see maskstream --help"),
        (["walk"], "invalid choice: 'walk'"),
        (["--vers"], "see maskstream --help"),
        (["run", "--color"], "unrecognized arguments: --color; see maskstream run --help"),
        (["run", "--str", "3"], "unrecognized arguments: --str 3; see maskstream run --help"),
        (["evaluate", "--box", "ear"], "argument --box: invalid choice: 'ear'"),
        (["export", "--out", "a.onnx"], "the following arguments are required: --weights; see maskstream export --help"),
        (["completion", "cmd"], "argument SHELL: invalid choice: 'cmd'"),
    ],
)
def test_a_usage_error_is_one_line(arguments: Sequence[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in refusal(arguments, capsys)


@pytest.mark.parametrize(
    ("command", "option", "least"),
    [
        ("archive", "--workers", 1),
        ("benchmark", "--frames", 1),
        ("benchmark", "--rounds", 1),
        ("benchmark", "--starts", 0),
        ("evaluate", "--contact-sheets", 1),
        ("export", "--max-faces", 1),
        ("fleet", "--nodes", 1),
        ("make-crops", "--size", 32),
        ("make-crops", "--views", 0),
        ("slim-detector", "--seed", 0),
    ],
)
def test_a_number_has_a_least_value(command: str, option: str, least: int, capsys: pytest.CaptureFixture[str]) -> None:
    for value in (str(least - 1), "1.5", "many"):
        said = refusal([command, option, value], capsys)
        assert said == f"argument {option}: '{value}' is not allowed; give {least} or more; see maskstream {command} --help\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run"], 2, "--source is missing"),
        (["evaluate", "--images", "none"], 2, "--out is missing"),
        (["make-crops"], 2, "--images is missing"),
        (["find-unlabelled", "--images", "none"], 2, "--labels is missing"),
        (["train-detector", "--out", "a.safetensors"], 2, "--images is missing"),
        (["train-classifier"], 2, "--out is missing"),
        (["slim-detector", "--weights", "a.safetensors", "--images", "b", "--out", "c.safetensors"], 4, "no such weights file"),
        (["measure-people", "--source", "none.mp4", "--set", "tracking.enabled=false"], 2, "tracking.enabled is false"),
        (["benchmark", "--source", "none.mp4"], 3, "none.mp4: no such file"),
        (["export", "--weights", "none.safetensors", "--out", "a.onnx"], 4, "none.safetensors: no such weights file"),
        (["run", "--quiet", "--source", str(DEMO), "--summary", "none/s.json"], 5, "does not exist; create it or choose another"),
    ],
)
@pytest.mark.usefixtures("folder", "signals")
def test_exit_codes_are_the_same_for_all(
    arguments: Sequence[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err


def test_the_drill_names_what_it_needs_without_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fault_drill, "ROOT", tmp_path)
    assert main(["fault-drill", "--short"]) == 2
    assert capsys.readouterr().err == (
        "fault-drill: tests/drill does not exist here; in a checkout, run python tools/fault_drill.py\n"
    )


def test_help_of_the_benchmark_names_all_comparisons_and_sweeps() -> None:
    assert ", ".join(COMPARISONS) == benchmark.COMPARED
    assert ", ".join(SWEEPS) == benchmark.SWEPT


def test_a_training_is_recorded_as_it_was_called() -> None:
    given = ["--out", "my weights.safetensors"]
    assert command_line("maskstream train-detector", given) == "maskstream train-detector --out 'my weights.safetensors'"
    assert command_line("tools/train_detector.py", given) == "python tools/train_detector.py --out 'my weights.safetensors'"


SECRET_ARGUMENTS = {
    "user and password": ["--source", "rtsp://me:s3cret@cam/1"],
    "in one argument": ["--source=http://cam/video?user=u&pwd=s3cret"],
    "a token in the path": ["--source", "rtsp://nvr:7447/s3cretAbc1Def2Ghi3"],
    "a broker": ["--set", "events.mqtt=mqtt://u:s3cret@broker"],
    "a webhook": ["--set", "events.webhooks=[{url: https://host/x, secret: s3cret}]"],
    "a secret alone": ["--set=events.webhooks=[{secret: s3cret}]"],
    "a typing error": ["--sorce", "rtsp:/me:s3cret@cam/1"],
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("kind", SECRET_ARGUMENTS)
def test_no_subcommand_shows_passwords_in_the_list_of_processes(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The title is set before the module of the subcommand is imported."""
    before, titles = getproctitle(), []

    def imported(_: str) -> NoReturn:
        titles.append(getproctitle())
        raise ConfigError("far enough")

    monkeypatch.setattr("maskstream.cli.main.command_module", imported)
    monkeypatch.setattr(sys, "argv", ["maskstream", name, *SECRET_ARGUMENTS[kind]])
    try:
        assert main() == ConfigError.exit_code
    finally:
        setproctitle(before)
    assert titles == [f"maskstream {name} --source ***"]


@pytest.mark.parametrize("kind", ["user and password", "in one argument", "a token in the path", "a broker"])
def test_a_recorded_command_line_has_no_passwords(kind: str) -> None:
    assert "s3cret" not in command_line("maskstream run", SECRET_ARGUMENTS[kind])


def test_a_usage_error_does_not_repeat_passwords(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "http://cam/video?user=u&pwd=s3cret"])
    said = capsys.readouterr().err
    assert "unrecognized arguments: http://cam/video?user=***&pwd=***" in said
    assert "s3cret" not in said


def test_an_error_of_the_program_is_reported_without_passwords() -> None:
    code = (
        "import threading; from maskstream.cli.process import redact_tracebacks; redact_tracebacks()\n"
        "def fail(): raise OSError(5, 'gone', 'rtsp://me:s3cret@cam/1')\n"
        "thread = threading.Thread(target=fail); thread.start(); thread.join(); fail()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.count("OSError: [Errno 5] gone: 'rtsp://***@cam/1") == 2
    assert "s3cret" not in done.stderr


def test_the_log_has_no_passwords_whoever_writes_them() -> None:
    code = (
        "from loguru import logger; from rich.console import Console; from maskstream.cli.process import start_log\n"
        "start_log(Console(stderr=True), 'INFO')\n"
        "def fail(url, secret):\n"
        "    raise OSError(5, 'gone', url)\n"
        "try:\n"
        "    logger.info('opening {}', 'http://cam/x?pwd=s3cret'); fail('rtsp://me:s3cret@cam/1', 's3cret' * 1)\n"
        "except OSError:\n"
        "    logger.exception('a mistake')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "opening http://cam/x?pwd=***\n" in done.stderr
    assert "OSError: [Errno 5] gone: 'rtsp://***@cam/1" in done.stderr
    assert "s3cret" not in done.stderr


def loaded_by(*command_lines: Sequence[str]) -> tuple[list[int], set[str]]:
    """Return the exit codes of command lines in a fresh process, and the packages that it has loaded after them."""
    command = [sys.executable, "-c", SAY_WHAT_IS_LOADED, json.dumps(command_lines)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    codes, loaded = json.loads(done.stdout.splitlines()[-1])
    return codes, set(loaded)


def test_version_and_help_load_no_heavy_package() -> None:
    codes, loaded = loaded_by(["--version"], ["--help"], ["run", "--version"], *([name, "--help"] for name in COMMANDS))
    assert set(codes) == {0}
    assert loaded & HEAVY == set()


def test_a_configuration_is_refused_before_heavy_packages_are_loaded() -> None:
    codes, loaded = loaded_by(["run", "--source", "none.mp4", "--config", "none.yaml"])
    assert codes == [2]
    assert loaded & HEAVY == {"loguru", "pydantic", "rich", "yaml"}


def test_a_reader_that_has_left_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "maskstream", "run", "--version"]
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, cwd=ROOT, env=buffered)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
