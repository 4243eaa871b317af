"""The JSON of cameras: what each client may see of them, and what is read from files for it."""

from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from maskstream.config.loading import load_config
from maskstream.store.roles import Role
from maskstream.store.store import Store
from maskstream.stream.states import SourceState, StateChange
from maskstream.web.camera_lists import CameraLists
from maskstream.web.camera_records import CameraRecords, camera_records, shown_to
from maskstream.web.context import WebContext
from maskstream.web.requests import Access
from tests.clocks import ManualClock
from tests.web.live import FedView, config_with

LIST = "- {name: a, url: 'rtsp://user:hunter22@192.0.2.1/1'}\n- {name: b, url: 'rtsp://${USER}:${PASSWORD}@192.0.2.2/1'}\n"


def access(role: Role, *cameras: str) -> Access:
    return Access("anna", role, cameras or None, "session")


def context_of(store: Store, fed: FedView, folder: Path, clock: ManualClock) -> WebContext:
    (folder / "list.yaml").write_text(LIST)
    lists = CameraLists([str(folder / "list.yaml")], load_config())
    return WebContext(store, load_config(), live=fed.view, cameras=lists, clock=clock)


def test_sources_are_for_administrators_and_passwords_for_nobody(tmp_path: Path) -> None:
    zone = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]
    fed = FedView(config_with(zones={"door": zone}, privacy={"blur": "all"}))
    for camera in "ab":
        fed.state(SourceState.ONLINE, SourceState.CONNECTING, camera)
    with Store(tmp_path) as store:
        context = context_of(store, fed, tmp_path, ManualClock())
        admin = camera_records(context, access(Role.ADMIN))
        viewer = camera_records(context, access(Role.VIEWER, "b"))
    assert [(each["camera"], each["editable"]) for each in admin] == [("a", True), ("b", True)]
    assert "hunter22" not in str(admin)
    assert "192.0.2.1" in admin[0]["source"]
    assert "${PASSWORD}" in admin[1]["source"]
    assert [(each["camera"], each["source"], each["editable"]) for each in viewer] == [("b", None, False)]
    assert viewer[0]["zones"] == [{"name": "door", "polygon": zone}]
    assert viewer[0]["privacy"] == {"blur": "all"}


def test_files_are_read_again_after_ten_seconds_or_a_change(tmp_path: Path) -> None:
    fed, clock = FedView(), ManualClock()
    fed.state(SourceState.ONLINE, SourceState.CONNECTING)
    with Store(tmp_path) as store:
        records = CameraRecords(context_of(store, fed, tmp_path, clock))

        def source() -> str | None:
            (record,) = shown_to(records.all(), access(Role.ADMIN))
            found: str | None = record["source"]
            return found

        assert "192.0.2.1" in str(source())
        (tmp_path / "list.yaml").write_text(LIST.replace("192.0.2.1", "192.0.2.9"))
        clock.advance(9)
        assert "192.0.2.1" in str(source())
        clock.advance(2)
        assert "192.0.2.9" in str(source())
        (tmp_path / "list.yaml").write_text("[]")
        records.forget()
        assert source() is None


def test_the_last_outage_of_an_earlier_run_is_known(tmp_path: Path) -> None:
    fed = FedView()
    fed.state(SourceState.ONLINE, SourceState.CONNECTING)
    with Store(tmp_path) as store:
        context = context_of(store, fed, tmp_path, ManualClock())
        assert camera_records(context, access(Role.VIEWER))[0]["last_outage"] is None
        store.states.put(
            StateChange("a", SourceState.OFFLINE, SourceState.CONNECTING, "no route", monotonic(), datetime.now(UTC))
        )
        assert store.flush(60)
        assert camera_records(context, access(Role.VIEWER))[0]["last_outage"]["cause"] == "no route"
        fed.state(SourceState.STALLED, SourceState.ONLINE, cause="no frame for 2.0 s")
        assert camera_records(context, access(Role.VIEWER))[0]["last_outage"]["cause"] == "no frame for 2.0 s"
