"""Where files of the program's own are kept where the home is of no use."""

import os
import tempfile
from pathlib import Path

import pytest

from maskstream.io.user_folders import cache_folder, cache_lasts, expand_home, lend_folders, state_folder


@pytest.fixture
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that cannot be written to, and an empty folder for temporary files, which is returned."""
    (tmp_path / "home").touch()
    (tmp_path / "temporary").mkdir()
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, "set to be restored")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def test_a_home_is_used_and_nothing_is_lent(no_home: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    monkeypatch.setenv("HOME", str(no_home / "of mine"))
    lend_folders()
    assert (cache_folder(), cache_lasts()) == (no_home / "of mine" / ".cache" / "maskstream", True)
    assert state_folder() == no_home / "of mine" / ".local" / "state" / "maskstream"
    assert ("XDG_CACHE_HOME" in os.environ, list(no_home.iterdir()), said) == (False, [], [])


def test_without_a_home_a_temporary_folder_that_is_ours_alone_is_lent(no_home: Path, said: list[str]) -> None:
    lend_folders()
    (folder,) = no_home.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (cache_folder(), cache_lasts()) == (folder / "maskstream", False)
    assert (os.environ["XDG_CACHE_HOME"], os.environ["MPLCONFIGDIR"]) == (str(folder), str(folder / "matplotlib"))
    (line,) = said
    assert line.startswith(f"WARNING no place for a cache: {os.environ['HOME']}/.cache cannot be written to; {folder} is used")


def test_what_the_user_has_set_for_a_library_stays(no_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLCONFIGDIR", "/mine")
    lend_folders()
    assert os.environ["MPLCONFIGDIR"] == "/mine"


@pytest.mark.parametrize("taken", ["link", "open", "file"])
def test_a_folder_that_others_may_write_to_is_not_used(no_home: Path, said: list[str], taken: str) -> None:
    name = no_home / f"maskstream-{os.getuid()}"
    if taken == "link":
        (no_home / "other").mkdir()
        name.symlink_to(no_home / "other")
    elif taken == "open":
        name.mkdir()
        name.chmod(0o777)
    else:
        name.touch()
    lend_folders()
    assert not cache_lasts()
    with pytest.raises(OSError, match="Not a directory"):
        cache_folder().mkdir(parents=True)
    assert "XDG_CACHE_HOME" not in os.environ
    assert "nothing is kept" in said[0]


def test_a_path_of_nobodys_home_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert (expand_home("~/a"), expand_home("~no such user/a"), expand_home("a~")) == ("/home/me/a", "~no such user/a", "a~")
