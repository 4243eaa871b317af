"""Completion: what is in the scripts, and what bash makes of its own."""

import subprocess
from pathlib import Path

import pytest

from maskstream.cli.completion import SHELLS, script
from maskstream.cli.main import COMMANDS, main

TYPED = {
    "ev": ["evaluate"],
    "make": ["make-crops"],
    "run --str": ["--stride"],
    "run --no-": ["--no-overwrite", "--no-show"],
    "run --source cl": ["clip.mp4"],
    "run --summary clip.mp4 --output cl": ["clip.mp4"],
    "evaluate --box h": ["head"],
    "make-crops --images ph": ["photos"],
    "completion f": ["fish"],
}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_names_subcommands_and_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    said = capsys.readouterr().out
    assert [name for name in COMMANDS if name not in said] == []
    assert [option for option in ("max-reconnects", "no-show", "val-annotations", "max-faces") if option not in said] == []


def test_the_script_of_bash_is_valid(tmp_path: Path) -> None:
    written = tmp_path / "script"
    written.write_text(script("bash"))
    done = subprocess.run(["bash", "-n", str(written)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_bash_completes_what_is_typed(folder: Path) -> None:
    (folder / "clip.mp4").touch()
    (folder / "photos").mkdir()
    asks = [script("bash")]
    for typed in TYPED:
        words = f"COMP_WORDS=(maskstream {typed}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=()"
        asks.append(f"""{words}
            "$(complete -p maskstream | sed 's/.* -F \\([^ ]*\\).*/\\1/')" maskstream "${{COMP_WORDS[-1]}}" ""
            echo "${{COMPREPLY[@]}}" """)
    done = subprocess.run(["bash", "--norc", "-c", "\n".join(asks)], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert dict(zip(TYPED, map(str.split, done.stdout.splitlines()), strict=True)) == TYPED
