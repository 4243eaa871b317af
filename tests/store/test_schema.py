import os
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from maskstream.errors import ConfigError, StoreError
from maskstream.events.outbox import Outbox
from maskstream.store.roles import Role
from maskstream.store.schema import MIGRATIONS, open_store_file, schema_version
from maskstream.store.store import Store
from tests.store.made import CHEAP, PASSWORD, event

NEXT_VERSION = "CREATE TABLE shifts (name TEXT NOT NULL, note TEXT DEFAULT 'a;b'); ALTER TABLE users ADD COLUMN language TEXT;"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def filled(folder: Path) -> Path:
    """Make a store with some content, and return its file."""
    with Store(folder, cost=CHEAP) as store:
        store.users.add("anna", Role.ADMIN, None, PASSWORD)
        for number in range(300):
            store.events.put(event(number))
        return store.path


def test_only_the_owner_reads_the_store(tmp_path: Path) -> None:
    with Store(tmp_path / "deep" / "store") as store:
        files = [store.path, Path(f"{store.path}-wal"), Path(f"{store.path}-shm")]
        assert [mode(path) for path in files] == [0o600] * 3
        assert mode(store.folder) == 0o700
        store.backup(tmp_path / "copy.db")
    assert mode(tmp_path / "copy.db") == 0o600


def test_a_store_that_others_could_read_becomes_private(tmp_path: Path, said: list[str]) -> None:
    path = filled(tmp_path)
    path.chmod(0o644)
    Store(tmp_path).close()
    assert mode(path) == 0o600
    assert [line for line in said if "other users could access it" in line]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_service_can_use_the_store_that_root_made(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 54321)
    with Store(tmp_path) as store:
        owners = {(path.stat().st_uid, path.stat().st_gid) for path in (store.path, Path(f"{store.path}-wal"))}
    assert owners == {(12345, 54321)}


def test_a_commit_is_on_the_disk(tmp_path: Path) -> None:
    with closing(open_store_file(tmp_path / "a.db")) as connection:
        settings = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}  # 2: FULL


def test_a_newer_store_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = filled(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    before = path.read_bytes()
    with pytest.raises(
        ConfigError, match=rf"schema {len(MIGRATIONS) + 1}, and this program supports schemas up to {len(MIGRATIONS)}; "
    ):
        Store(tmp_path)
    assert path.read_bytes() == before


def overwritten(path: Path, place: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(content)


DAMAGES = {
    "another file": lambda path: path.write_text("a shopping list, which is long enough\n" * 100),
    "its first page": lambda path: overwritten(path, 30, b"\xff" * 400),
    "a page in the middle": lambda path: overwritten(path, path.stat().st_size // 2 // 4096 * 4096, b"\xa5" * 4096),
    "the end is missing": lambda path: os.truncate(path, path.stat().st_size // 2),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_store_is_refused_and_not_changed(what: str, tmp_path: Path) -> None:
    path = filled(tmp_path)
    DAMAGES[what](path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(StoreError, match=r"maskstream\.db: .*set store\.folder to another folder") as caught:
        Store(tmp_path)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 5
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_damage_that_is_found_later_is_one_line(tmp_path: Path) -> None:
    path = filled(tmp_path)
    with Store(tmp_path, cost=CHEAP) as store:
        overwritten(path, 4096, b"\xa5" * (path.stat().st_size - 4096))
        with pytest.raises(StoreError, match=r"maskstream\.db: the store cannot be read: it is damaged \("):
            store.events.page(cameras=None, limit=1000)
        assert store.health().schema_version == len(MIGRATIONS)


def test_a_queue_of_events_is_no_store(tmp_path: Path) -> None:
    outbox = Outbox(str(tmp_path / "maskstream.db"), 1000)
    outbox.attach()
    outbox.detach()
    with pytest.raises(StoreError, match="is not a store of maskstream"):
        Store(tmp_path)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"the store cannot be opened: Not a directory; .* set store\.folder"):
        Store(tmp_path / "file" / "store")


def test_a_migration_keeps_everything_and_a_backup(tmp_path: Path, said: list[str]) -> None:
    path = filled(tmp_path)
    with closing(open_store_file(path, (*MIGRATIONS, NEXT_VERSION))) as connection:
        assert schema_version(connection) == len(MIGRATIONS) + 1
        assert connection.execute("SELECT name, language FROM users").fetchall() == [("anna", None)]
        connection.execute("INSERT INTO shifts (name) VALUES ('early')")
        assert connection.execute("SELECT note FROM shifts").fetchone() == ("a;b",)
    backup = path.with_name(f"maskstream.db.schema-{len(MIGRATIONS)}")
    assert mode(backup) == 0o600
    assert any(backup.name in line for line in said)
    restored = tmp_path / "restored"
    restored.mkdir()
    shutil.copy(backup, restored / "maskstream.db")
    with Store(restored, cost=CHEAP) as store:
        assert store.users.verify("anna", PASSWORD)
        assert len(store.events.page(cameras=None, limit=1000).events) == 300


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = filled(tmp_path)
    with pytest.raises(StoreError, match="no such table: nowhere"):
        open_store_file(path, (*MIGRATIONS, NEXT_VERSION + "INSERT INTO nowhere VALUES (1);"))
    with closing(sqlite3.connect(path)) as connection:
        assert schema_version(connection) == len(MIGRATIONS)
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'shifts'").fetchone() == (0,)
    with Store(tmp_path, cost=CHEAP) as store:
        assert store.users.verify("anna", PASSWORD)


def test_no_migration_without_room_for_the_backup(tmp_path: Path) -> None:
    path = filled(tmp_path)
    path.with_name(f"maskstream.db.schema-{len(MIGRATIONS)}.part").mkdir()  # the copy cannot be written
    with pytest.raises(StoreError, match="the store cannot be opened: Is a directory"):
        open_store_file(path, (*MIGRATIONS, NEXT_VERSION))
    with closing(sqlite3.connect(path)) as connection:
        assert schema_version(connection) == len(MIGRATIONS)


def test_the_backup_is_complete_while_others_write(tmp_path: Path) -> None:
    filled(tmp_path / "a")
    with Store(tmp_path / "a", cost=CHEAP) as store:
        store.audit.add("anna", "last", "", "local")
        target = tmp_path / "b" / "maskstream.db"
        target.parent.mkdir()
        store.backup(target)
        with pytest.raises(StoreError, match=r"nowhere/b\.db: the backup cannot be written: No such file or directory"):
            store.backup(tmp_path / "nowhere" / "b.db")
        assert store.audit.page().entries[0].what == "last"
    with Store(target.parent, cost=CHEAP) as copy:
        assert copy.audit.page().entries[0].what == "last"
