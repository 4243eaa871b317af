"""Lists of cameras that clients edit: what is written, what is refused, and what another program does at the same time."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from maskstream.config.camera_watch import CameraWatch
from maskstream.config.cameras import read_cameras
from maskstream.config.schema import Config
from maskstream.errors import ConfigError
from maskstream.web.camera_edit import CameraChange
from maskstream.web.camera_lists import CameraLists
from maskstream.web.list_file import ListFile
from maskstream.web.list_refusal import CameraListError, Refusal
from tests.clocks import ManualClock
from tests.conftest import ROOT
from tests.disks import files_at_most
from tests.forks import fork
from tests.slowness import LONGEST_S

SQUARE = ((0, 0), (1, 0), (1, 1), (0, 1))
TEXT = """\
# the ward
- name: ward    # bed 1
  url: rtsp://${CAMERA_USER}:${CAMERA_PASSWORD}@192.0.2.10/1
  zones:
    door: [[0, 0.4], [0.3, 0.4], [0.3, 1]]

- name: gate
  url: "rtsp://admin:sesame77@192.0.2.11/1"
  detector: {min_score: 0.8}
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAMERA_USER", "viewer")
    monkeypatch.setenv("CAMERA_PASSWORD", "hunter22")
    monkeypatch.setenv("MQTT_PASSWORD", "broker33")
    return write(tmp_path / "cameras.yaml", TEXT)


def write(path: Path, text: str) -> Path:
    """Write a list as a person did a minute ago."""
    path.write_text(text, newline="")
    os.utime(path, (path.stat().st_mtime - 60,) * 2)
    return path


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def lists_of(path: Path, **more: Any) -> CameraLists:
    return CameraLists([str(path)], Config(), **more)


def put(lists: CameraLists, name: str, **change: Any) -> None:
    entry = lists.entry(name)
    lists.put(name, CameraChange(**change), None if entry is None else entry.etag)


def refused(lists: CameraLists, name: str, **change: Any) -> CameraListError:
    with pytest.raises(CameraListError) as refusal:
        put(lists, name, **change)
    assert "\n" not in str(refusal.value)
    return refusal.value


def test_entries_are_shown_without_passwords(path: Path) -> None:
    ward, gate = lists_of(path).entries()
    assert (ward.name, ward.shown_url) == ("ward", "rtsp://${CAMERA_USER}:${CAMERA_PASSWORD}@192.0.2.10/1")
    assert (ward.zones, ward.settings, ward.obstacle) == ({"door": [[0, 0.4], [0.3, 0.4], [0.3, 1]]}, {}, "")
    assert (gate.shown_url, gate.settings) == ("rtsp://***@192.0.2.11/1", {"detector": {"min_score": 0.8}})
    assert not [secret for secret in ("sesame77", "hunter22", "viewer") if secret in str([asdict(each) for each in (ward, gate)])]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://${U}:${P}@h/1?token=${T}&x=1", "rtsp://${U}:${P}@h/1?token=${T}&x=1"),
        ("rtsp://admin:${P}@h/1", "rtsp://***@h/1"),
        ("rtsp://${U}:geheim@h/1", "rtsp://***@h/1"),
        ("http://h/cgi?user=me&pwd=geheim", "http://h/cgi?user=***&pwd=***"),
        ("http://h/cgi?pwd=${P}geheim", "http://h/cgi?pwd=***"),
        ("rtsp://${U}:${P}@h/a/geheim1A2b3C4d5E6f7G8h", "rtsp://${U}:${P}@h/a/***"),
        ("0", "0"),
    ],
)
def test_references_are_shown_and_passwords_are_not(tmp_path: Path, url: str, shown: str) -> None:
    (entry,) = lists_of(write(tmp_path / "l.yaml", f"- name: a\n  url: '{url}'\n")).entries()
    assert entry.shown_url == shown


def test_a_change_is_written_and_the_run_reads_it(path: Path) -> None:
    lists, clock = lists_of(path), ManualClock()
    watch = CameraWatch([str(path)], Config(), clock)
    put(lists, "ward", zones={"door": SQUARE, "bed": ((0.123456, 0), (1.0, 0), (1, 1))}, settings={"privacy": {"blur": "all"}})
    assert path.read_text() == TEXT.replace(
        "    door: [[0, 0.4], [0.3, 0.4], [0.3, 1]]\n",
        "    door: [[0, 0], [1, 0], [1, 1], [0, 1]]\n    bed: [[0.1235, 0], [1, 0], [1, 1]]\n  privacy:\n    blur: all\n",
    )
    clock.advance(1)
    assert watch.poll() is None
    clock.advance(1)
    cameras = watch.poll()
    assert cameras is not None
    assert (cameras[0].config.privacy.blur, list(cameras[0].config.zones)) == ("all", ["door", "bed"])


def test_cameras_are_added_and_removed(path: Path) -> None:
    lists = lists_of(path)
    put(lists, "stairs 2", url=" rtsp://${CAMERA_PASSWORD}@192.0.2.12/1 ")
    added = "\n- name: stairs 2\n  url: rtsp://${CAMERA_PASSWORD}@192.0.2.12/1\n"
    assert path.read_text() == TEXT + added
    gate = lists.entry("gate")
    assert gate is not None
    lists.remove("gate", gate.etag)
    assert path.read_text() == TEXT[: TEXT.index("\n- name: gate")] + added
    assert [camera.location for camera in read_cameras([str(path)], Config())] == [
        "rtsp://viewer:hunter22@192.0.2.10/1",
        "rtsp://hunter22@192.0.2.12/1",
    ]


def test_the_last_camera_stays(path: Path) -> None:
    lists = lists_of(path)
    for name, refusal in (("ward", None), ("gate", Refusal.NOT_EDITABLE), ("ward", Refusal.UNKNOWN)):
        entry = lists.entry(name)
        if refusal is None:
            lists.remove(name, entry and entry.etag)
            continue
        with pytest.raises(CameraListError) as error:
            lists.remove(name, entry and entry.etag)
        assert error.value.refusal is refusal


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("ward", {"zones": {"door": [[0, 0], [1, 0], [1.2, 1]]}}, "zones.door: 1.2 is not allowed"),
        ("ward", {"zones": {"door": [[0, 0], [1, 1]]}}, "zones.door"),
        ("ward", {"zones": {"door": [[0, 0], [1, 1], [0.5, 0.5]]}}, "three corners"),
        ("ward", {"zones": {"a\nb": SQUARE}}, "printable"),
        ("ward", {"settings": {"detector": {"min_score": 2}}}, "detector.min_score: 2 is not allowed"),
        ("ward", {"settings": {"detector": {"every": 2}}}, "cannot be set for one camera"),
        ("ward", {"settings": {"url": "rtsp://h/1"}}, "url is not a setting"),
        ("ward", {"settings": {"detektor": {"min_score": 0.5}}}, "detektor.min_score cannot be set"),
        ("ward", {"url": "rtsp://***@192.0.2.10/1"}, "contains *** instead of the password"),
        ("ward", {"url": "rtsp//192.0.2.10/1"}, "neither a URL nor in the folder of a list"),
        ("ward", {"url": "rtsp:///1"}, "names no host"),
        ("ward", {"url": "rtsp://[::1/1"}, "names no host"),
        ("ward", {"url": "gopher://h/1"}, "gopher:// is not supported"),
        ("ward", {"url": "rtsp://h/1\n- name: x"}, "expected printable text"),
        ("ward", {"url": "rtsp://h/\0"}, "expected printable text"),
        ("ward", {"url": "rtsp://h/" + "a" * 2000}, "expected printable text of 1 to 2000"),
        ("ward", {"url": " "}, "expected printable text"),
        ("ward", {"url": "-"}, "cannot be a camera"),
        ("ward", {"url": "/etc/passwd"}, "nor in the folder of a list"),
        ("ward", {"url": "file:///etc/passwd"}, "nor in the folder of a list"),
        ("ward", {"url": "../*.png"}, "nor in the folder of a list"),
        ("ward", {"url": "rtsp://u:${MQTT_PASSWORD}@h/1"}, "'MQTT_PASSWORD' may not be used here"),
        ("ward", {"url": "rtsp://u:${CAMERA_NOT_SET}@h/1"}, "CAMERA_NOT_SET is not set"),
        ("ward", {"url": "rtsp://u:${@h/1"}, "may not be used here"),
        ("stairs", {}, "url is missing"),
        ("../x", {"url": "rtsp://h/1"}, "must not begin with a dot or contain a slash"),
        ("..", {"url": "rtsp://h/1"}, "must not begin with a dot"),
        ("a\\b", {"url": "rtsp://h/1"}, "slash"),
        ("a\0b", {"url": "rtsp://h/1"}, "printable text"),
        ("a\x1b[31mb", {"url": "rtsp://h/1"}, "printable text"),
        ("a\u202eb", {"url": "rtsp://h/1"}, "printable text"),
        (" a", {"url": "rtsp://h/1"}, "printable text without spaces"),
        ("a" * 65, {"url": "rtsp://h/1"}, "1 to 64 characters"),
        ("", {"url": "rtsp://h/1"}, "1 to 64 characters"),
    ],
)
def test_wrong_requests_change_nothing(path: Path, name: str, change: Mapping[str, Any], says: str) -> None:
    error = refused(lists_of(path), name, **change)
    assert (error.refusal, says in str(error)) == (Refusal.WRONG, True), str(error)
    assert path.read_text() == TEXT
    assert names_in(path.parent) == [path.name]
    assert not [secret for secret in ("hunter22", "sesame77", "broker33") if secret in str(error)]


def test_files_may_be_read_beside_the_list_and_beside_its_files(path: Path, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "a.mp4").touch()
    (tmp_path / "b.mp4").touch()
    lists = lists_of(path)
    for url in (str(tmp_path / "b.mp4"), str(clips / "a.mp4"), str(clips / "*.mp4"), "0", "udp://:5000"):
        lists.require_url(url)
    with pytest.raises(ConfigError, match="no such file"):
        lists.require_url(str(clips / "c.mp4"))
    (tmp_path / "link.mp4").symlink_to("/etc/passwd")
    with pytest.raises(ConfigError, match="nor in the folder"):
        lists.require_url(str(tmp_path / "link.mp4"))


def test_models_may_refuse_settings(path: Path) -> None:
    def check(config: Config) -> None:
        if config.classifier.incorrect_as == "incorrect":
            raise ConfigError("classifier.incorrect_as: the classifier has no class incorrect")

    error = refused(lists_of(path, check=check), "ward", settings={"classifier": {"incorrect_as": "incorrect"}})
    assert (error.refusal, "no class incorrect" in str(error)) == (Refusal.WRONG, True)
    assert path.read_text() == TEXT


def test_two_clients_at_the_same_time(path: Path) -> None:
    lists = lists_of(path)
    ward, gate = lists.entries()
    lists.put("ward", CameraChange(zones={}), ward.etag)
    with pytest.raises(CameraListError) as late:
        lists.put("ward", CameraChange(zones={"door": SQUARE}), ward.etag)
    assert late.value.refusal is Refusal.CHANGED
    lists.put("gate", CameraChange(settings={}), gate.etag)  # another camera
    assert path.read_text() == TEXT[: TEXT.index("  zones")] + TEXT[TEXT.index("\n- name: gate") : TEXT.index("  detector")]
    for name, etag in (("ward", None), ("new", gate.etag), ("ward", "é")):
        with pytest.raises(CameraListError) as wrong:
            lists.put(name, CameraChange(url="rtsp://h/1"), etag)
        assert wrong.value.refusal is Refusal.CHANGED


def test_an_etag_does_not_reveal_the_password(path: Path) -> None:
    assert lists_of(path).entries()[1].etag != lists_of(path).entries()[1].etag  # another key in each run


def test_an_editor_that_writes_now_is_waited_for(path: Path) -> None:
    clock, complete = ManualClock(), TEXT.replace("# bed 1", "# bed 2")

    class Editor(ManualClock):
        def wait(self, event: Any, timeout_s: float) -> bool:
            write(path, complete)
            return clock.wait(event, timeout_s)

    lists = lists_of(path, clock=Editor())
    entry = lists.entry("gate")
    path.write_text(TEXT[:40])  # cut in two, and only just now
    error = refused(lists, "new", url="rtsp://h/1") if entry is None else None
    assert error is None
    lists.put("new", CameraChange(url="rtsp://h/1"), None)
    assert path.read_text() == complete + "\n- name: new\n  url: rtsp://h/1\n"
    assert 0 < clock.waits_s[0] <= 0.5


def test_a_file_that_changes_all_the_time_is_left_alone(path: Path) -> None:
    clock = ManualClock()
    now_s = path.stat().st_mtime
    lists = lists_of(path, clock=clock, now_s=lambda: now_s + 0.1)
    assert refused(lists, "ward", zones={}).refusal is Refusal.CHANGED
    assert (path.read_text(), len(clock.waits_s)) == (TEXT, 4)


def test_a_program_that_writes_between_reading_and_replacing_wins(path: Path) -> None:
    """The edit begins again with what the other program has written."""
    other = TEXT.replace("# bed 1", "# bed 3")

    def write_meanwhile(_: Config) -> None:
        if path.read_text() == TEXT:
            write(path, other)

    put(lists_of(path, check=write_meanwhile), "gate", settings={})
    assert path.read_text() == other.replace("  detector: {min_score: 0.8}\n", "")
    assert names_in(path.parent) == [path.name]


def test_own_changes_in_sequence_do_not_wait(path: Path) -> None:
    clock = ManualClock()
    lists = lists_of(path, clock=clock)
    for zones in ({}, {"a": SQUARE}, {"b": SQUARE}):
        put(lists, "ward", zones=zones)
    assert clock.waits_s == []


def test_permissions_owner_and_link_are_kept(path: Path, tmp_path: Path) -> None:
    path.chmod(0o664)
    if os.geteuid() == 0:
        os.chown(path, 1234, 2345)
    before = path.stat()
    link = tmp_path / "elsewhere" / "list.yaml"
    link.parent.mkdir()
    link.symlink_to(path)
    put(lists_of(link), "gate", settings={})
    after = path.stat()
    assert (stat.filemode(after.st_mode), after.st_uid, after.st_gid) == ("-rw-rw-r--", before.st_uid, before.st_gid)
    assert link.is_symlink()
    assert after.st_ino != before.st_ino
    assert names_in(link.parent) == ["list.yaml"]


def test_byte_order_mark_and_windows_lines_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "l.yaml", "\ufeff- name: a\r\n  url: rtsp://h/1\r\n\r\n- name: b # ä\r\n  url: rtsp://h/2\r\n")
    put(lists_of(path), "b", url="rtsp://h/3")
    expected = "\ufeff- name: a\r\n  url: rtsp://h/1\r\n\r\n- name: b # ä\r\n  url: rtsp://h/3\r\n"
    assert path.read_bytes().decode() == expected
    mixed = write(tmp_path / "m.yaml", "- name: a\r\n  url: rtsp://h/1\n- name: b\n  url: rtsp://h/2\r\n")
    put(lists_of(mixed), "b", url="rtsp://h/3")
    assert mixed.read_bytes() == b"- name: a\r\n  url: rtsp://h/1\n- name: b\n  url: rtsp://h/3\r\n"


def test_a_full_disk_leaves_the_list_as_it_was(path: Path) -> None:
    lists = lists_of(path)
    with files_at_most(100):
        error = refused(lists, "gate", settings={})
    assert (error.refusal, os.strerror(errno.EFBIG) in str(error)) == (Refusal.FAILED, True)
    assert (path.read_text(), names_in(path.parent)) == (TEXT, [path.name])
    put(lists, "gate", settings={})


def test_a_write_protected_list_is_not_editable(path: Path) -> None:
    path.chmod(0o444)
    lists = lists_of(path)
    assert all("is write-protected" in entry.obstacle for entry in lists.entries())
    for name, change in (("ward", {"zones": {}}), ("new", {"url": "rtsp://h/1"})):
        assert refused(lists, name, **change).refusal is Refusal.NOT_EDITABLE
    with pytest.raises(CameraListError, match="write-protected"):
        lists.remove("ward", lists.entries()[0].etag)
    assert path.read_text() == TEXT


def test_a_list_with_two_names_is_not_editable(path: Path, tmp_path: Path) -> None:
    (tmp_path / "second.yaml").hardlink_to(path)
    assert "hard link" in lists_of(path).obstacle()


def test_attributes_of_the_file_are_kept(path: Path) -> None:
    try:
        os.setxattr(path, "user.origin", b"puppet")
    except OSError:
        pytest.skip("the file system has no attributes")
    put(lists_of(path), "gate", settings={})
    assert os.getxattr(path, "user.origin") == b"puppet"


WITH_DISKS = """
mount -t tmpfs -o size=64k tmpfs full && cp cameras.yaml full && { head -c 100k /dev/zero > full/others; } 2> /dev/null
mount -t tmpfs tmpfs readonly && cp cameras.yaml readonly && mount -o remount,ro readonly
touch -d yesterday full/cameras.yaml && touch single && mount --bind cameras.yaml single && exec "$@"
"""
TRY_EACH = """
import sys
from pathlib import Path
from maskstream.config.schema import Config
from maskstream.web.camera_edit import CameraChange
from maskstream.web.camera_lists import CameraLists
from maskstream.web.list_refusal import CameraListError
for path in map(Path, sys.argv[1:]):
    lists, before = CameraLists([str(path)], Config()), path.read_bytes()
    try:
        lists.put("ward", CameraChange(zones={}), lists.entry("ward").etag)
    except CameraListError as error:
        unchanged = path.read_bytes() == before and not [*path.parent.glob(".*")]
        print(error.refusal.value, unchanged, error, sep="|")
"""


def test_full_and_read_only_disks_and_a_mounted_file(path: Path, tmp_path: Path) -> None:
    for name in ("full", "readonly"):
        (tmp_path / name).mkdir()
    (tmp_path / "single.yaml").touch()
    script = WITH_DISKS.replace("single", "single.yaml")
    paths = [tmp_path / "full" / path.name, tmp_path / "readonly" / path.name, tmp_path / "single.yaml"]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable, "-c", TRY_EACH, *map(str, paths)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=LONGEST_S,
        check=False,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"needs the right to mount: {done.stderr.strip()}")
    full, read_only, single = done.stdout.splitlines()
    assert full.startswith("failed|True|"), done.stdout
    assert "No space left on device; it is unchanged" in full
    assert read_only.startswith("not editable|True|"), done.stdout
    assert "is write-protected" in read_only
    assert single.startswith("not editable|True|"), done.stdout
    assert "mount" in single


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which only root can")
def test_another_users_file_or_folder_is_not_editable() -> None:
    """A process without privileges may not take over a file, and cannot rename in a folder of another user."""
    with TemporaryDirectory() as folder:  # which others may enter, unlike tmp_path
        path = write(Path(folder) / "cameras.yaml", TEXT)
        path.chmod(0o666)
        path.parent.chmod(0o755)
        assert (
            as_nobody(path)
            == f"{path}: its folder is write-protected, so that it cannot be replaced; allow this user to write there"
        )
        path.parent.chmod(0o777)
        assert "belongs to another user" in as_nobody(path)
        os.chown(path, 65534, 65534)
        assert as_nobody(path) == ""


def as_nobody(path: Path) -> str:
    """Return the obstacle that an unprivileged process finds."""
    reading, writing = os.pipe()
    child = fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        os.write(writing, ListFile(str(path)).obstacle().encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- name: ward\n  url: [", "not valid YAML"),
        ("name: ward\n", "not a list of cameras"),
        (TEXT + "- name: ward\n  url: rtsp://h/2\n", "given twice"),
        (TEXT + "- name: third\n  url: rtsp://${CAMERA_NOT_SET}@h/2\n", "correct the list first"),
        ("\xff", "UTF-8"),
    ],
)
def test_a_list_that_is_wrong_already_is_left_alone(path: Path, text: str, says: str) -> None:
    path.write_bytes(text.encode("latin-1"))
    os.utime(path, (0, 0))
    lists = lists_of(path)
    entry = lists.entry("gate")
    with pytest.raises(CameraListError) as refusal:
        lists.put("new" if entry is None else "gate", CameraChange(url="rtsp://h/9"), entry and entry.etag)
    assert (refusal.value.refusal, says in str(refusal.value)) == (Refusal.NOT_EDITABLE, True), str(refusal.value)
    assert path.read_bytes() == text.encode("latin-1")


def test_a_wrong_entry_can_be_corrected_here(path: Path) -> None:
    write(path, TEXT.replace("[0.3, 1]]", "[0.3, 7]]"))
    put(lists_of(path), "ward", zones={"door": SQUARE})
    assert len(read_cameras([str(path)], Config())) == 2


def test_sources_of_the_command_line_are_in_no_list(path: Path, tmp_path: Path) -> None:
    lists = CameraLists(["0", "rtsp://h/1"], Config())
    assert (lists.entries(), "has no list of cameras" in lists.obstacle()) == ([], True)
    assert refused(lists, "new", url="rtsp://h/1").refusal is Refusal.NOT_EDITABLE
    both = CameraLists(["rtsp://h/1", str(write(tmp_path / "a.yml", "- name: a\n  url: rtsp://h/2\n")), str(path)], Config())
    assert [entry.name for entry in both.entries()] == ["a", "ward", "gate"]
    assert refused(both, "rtsp://h/1", url="rtsp://h/3").refusal is Refusal.WRONG


def test_what_changes_nothing_does_not_write(path: Path) -> None:
    before = path.stat()
    put(lists_of(path), "ward", zones={"door": [[0, 0.4], [0.3, 0.4], [0.3, 1]]}, settings={})
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_camera_that_an_editor_removes_meanwhile(path: Path) -> None:
    class Editor(ManualClock):
        def wait(self, event: Any, timeout_s: float) -> bool:
            write(path, TEXT[TEXT.index("- name: gate") :])
            return super().wait(event, timeout_s)

    lists = lists_of(path, clock=Editor())
    ward = lists.entry("ward")
    assert ward is not None
    path.touch()
    with pytest.raises(CameraListError, match="was removed meanwhile") as late:
        lists.put("ward", CameraChange(zones={}), ward.etag)
    assert late.value.refusal is Refusal.CHANGED
