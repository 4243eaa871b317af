import io
import os
import re
from pathlib import Path

import pytest

from maskstream.cli.main import main
from maskstream.cli.token import duration_s
from maskstream.store.passwords import ScryptCost
from maskstream.store.roles import Role, User
from maskstream.store.store import Store
from tests.store.made import CHEAP, PASSWORD


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskstream.store.store.ScryptCost", lambda: CHEAP)
    assert ScryptCost() != CHEAP


def command(folder: Path, *words: str) -> int:
    return main([*words, "--store", str(folder)])


def typed(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode("utf-8", "surrogateescape"))))


def test_a_generated_password_is_printed_once_and_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(tmp_path, "user", "add", "anna", "--role", "admin") == 0
    added, shown = capsys.readouterr().out.splitlines()
    assert added == "anna: added; admin, all cameras"
    assert shown.startswith("password, which is not shown again: ")
    with Store(tmp_path) as store:
        assert store.users.verify("anna", shown.rpartition(" ")[2]) == User("anna", Role.ADMIN, None)
        assert not [path for path in tmp_path.iterdir() if shown.rpartition(" ")[2].encode() in path.read_bytes()]


def test_a_password_from_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(PASSWORD + "\r\nmore", monkeypatch)
    assert command(tmp_path, "user", "add", "bob", "--cameras", "door, hall", "--password-stdin") == 0
    assert capsys.readouterr().out == "bob: added; viewer, cameras door, hall\n"
    typed("another password\n", monkeypatch)
    assert command(tmp_path, "user", "password", "bob", "--password-stdin") == 0
    assert capsys.readouterr().out == "bob: the password is changed; the user's sessions have ended\n"
    with Store(tmp_path) as store:
        assert store.users.verify("bob", PASSWORD) is None
        assert store.users.verify("bob", "another password") == User("bob", Role.VIEWER, ("door", "hall"))


@pytest.mark.parametrize(
    ("text", "why"), [("", "standard input is empty"), ("short\n", "has 5 characters"), ("\udce9\n", "not text in UTF-8")]
)
def test_a_password_that_cannot_be_used(
    text: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(text, monkeypatch)
    assert command(tmp_path, "user", "add", "bob", "--password-stdin") == 2
    said = capsys.readouterr().err
    assert why in said
    assert said.count("\n") == 1


def test_users_are_listed_changed_and_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("zoe", "anna"):
        command(tmp_path, "user", "add", name)
    assert command(tmp_path, "user", "role", "zoe", "--role", "display", "--cameras", "door") == 0
    capsys.readouterr()
    assert command(tmp_path, "user", "list") == 0
    assert capsys.readouterr().out == "anna: viewer, all cameras\nzoe: display, cameras door\n"
    assert command(tmp_path, "user", "remove", "anna") == 0
    assert command(tmp_path, "user", "remove", "ZOE") == 0
    capsys.readouterr()
    assert command(tmp_path, "user", "list") == 0
    assert capsys.readouterr() == ("", "no users; maskstream user add NAME --role admin adds the first one\n")


def test_a_token_is_printed_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(tmp_path, "token", "add", "metrics", "--expires", "90d") == 0
    out, err = capsys.readouterr()
    assert re.fullmatch(r"mst_[\w-]{43}\n", out)
    assert re.match(r"metrics: added; viewer, all cameras; expires \d{4}-.*; it is not shown again:\n$", err)
    with Store(tmp_path) as store:
        assert store.tokens.find(out.strip()) is not None
    assert command(tmp_path, "token", "list") == 0
    assert re.match(r"metrics: viewer, all cameras; expires \S+; last used \S+\n$", capsys.readouterr().out)
    assert command(tmp_path, "token", "remove", "metrics") == 0
    capsys.readouterr()
    assert command(tmp_path, "token", "list") == 0
    assert capsys.readouterr().err == "no tokens; maskstream token add NAME adds one\n"


def test_each_change_is_in_the_audit(tmp_path: Path) -> None:
    command(tmp_path, "user", "add", "anna", "--role", "operator")
    command(tmp_path, "user", "role", "anna", "--role", "admin")
    command(tmp_path, "user", "password", "anna")
    command(tmp_path, "user", "remove", "anna")
    command(tmp_path, "token", "add", "metrics")
    command(tmp_path, "token", "remove", "metrics")
    with Store(tmp_path) as store:
        entries = store.audit.page().entries
    assert [(entry.what, entry.detail) for entry in reversed(entries)] == [
        ("user.add", "anna: operator, all cameras"),
        ("user.role", "anna: admin, all cameras"),
        ("user.password", "anna"),
        ("user.remove", "anna"),
        ("token.add", "metrics: viewer, all cameras"),
        ("token.remove", "metrics"),
    ]
    assert {entry.address for entry in entries} == {"local"}
    assert all(entry.who.startswith("command line (") for entry in entries)


REFUSED = {
    "no name": (["user", "add"], "add: NAME is missing; see --help"),
    "a name too many": (["user", "list", "anna"], "list: NAME has no effect; leave it out"),
    "an option without effect": (["user", "remove", "anna", "--role", "admin"], "remove: --role has no effect; leave it out"),
    "a password that is not used": (
        ["user", "role", "anna", "--password-stdin"],
        "role: --password-stdin has no effect; leave it out",
    ),
    "no role": (["user", "role", "anna"], "role: --role is missing; see --help"),
    "an unknown user": (["user", "password", "nobody"], "nobody: the user does not exist; maskstream user list shows all users"),
    "a user again": (["user", "add", "Anna"], "Anna: the user exists already; maskstream user password changes the password"),
    "a name": (["user", "add", "../anna"], "'../anna' is not allowed as a name; give 1 to 64 letters, digits and . _ @ + -"),
    "a camera": (
        ["user", "add", "x", "--cameras", "a,,b"],
        "--cameras: 'a,,b' has an empty name; give names separated by commas",
    ),
    "an unknown token": (["token", "remove", "x"], "x: the token does not exist; maskstream token list shows all tokens"),
    "an expiry of a list": (["token", "list", "--expires", "1d"], "list: --expires has no effect; leave it out"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_wrong_use_is_one_line(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command(tmp_path, "user", "add", "anna")
    capsys.readouterr()
    words, why = REFUSED[what]
    assert command(tmp_path, *words) == 2
    out, err = capsys.readouterr()
    assert err.startswith(why)
    assert (out, err.count("\n")) == ("", 1)


@pytest.mark.parametrize("words", ["user list", "user remove anna", "user password anna", "token list", "token remove x"])
def test_a_store_that_does_not_exist_is_not_created(words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(tmp_path / "typo", *words.split()) == 2
    assert "typo/maskstream.db: the store does not exist; give its folder with --store" in capsys.readouterr().err
    assert not (tmp_path / "typo").exists()


def test_the_default_folder_is_in_the_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert main(["user", "add", "anna"]) == 0
    assert (tmp_path / "maskstream" / "store" / "maskstream.db").exists()
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert main(["user", "add", "bob"]) == 2
    assert "there is no home folder for the store; set store.folder to a folder of yours" in capsys.readouterr().err


def test_a_damaged_store_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "maskstream.db"
    file.write_bytes(b"not a database at all, by far " * 99)
    file.chmod(0o600)  # else a warning says so, where an earlier command has started the log
    assert command(tmp_path, "user", "list") == 5
    said = capsys.readouterr().err
    assert "the store cannot be opened: it is damaged (file is not a database)" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(("text", "days"), [("12h", 0.5), ("90d", 90.0), ("2w", 14.0)])
def test_times_of_tokens(text: str, days: float) -> None:
    assert duration_s(text) == days * 86_400


@pytest.mark.parametrize("text", ["", "0d", "-1d", "1", "d", "1.5d", "999999999w", "1d ", "١d"])
def test_times_that_are_not_allowed(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command(tmp_path, "token", "add", "x", f"--expires={text}")
    assert "is not a time; give hours, days or weeks as 12h, 90d, 52w" in capsys.readouterr().err
