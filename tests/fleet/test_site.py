"""The file of a site: what it gives, and one line for each mistake."""

from pathlib import Path

import pytest

from maskstream.config.loading import Layer
from maskstream.config.schema import Config
from maskstream.errors import ConfigError, SourceOpenError
from maskstream.fleet.site import CameraSpec, NodeLimits, Site, read_site
from tests.conftest import ROOT

CAMERA = "{name: gate, url: 'rtsp://${NOT_SET}@camera/1'}"


def site_of(folder: Path, text: str, *layers: Layer) -> Site:
    path = folder / "site.yaml"
    path.write_text(text)
    return read_site(path, Config(), layers)


def test_the_shipped_site_is_valid_without_the_variables_of_its_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAMERA_PASSWORD", raising=False)
    site = read_site(ROOT / "configs" / "site.yaml", Config())
    assert site.name == "hospital"
    assert [camera.name for camera in site.cameras] == ["entrance", "corridor", "lab", "gate", "desk", "car park"]
    assert site.cameras[-1].nodes == ("gpu",)
    assert site.names_of("west") == {"west", "gpu"}
    assert site.names_of("unknown") == {"unknown"}
    assert site.settings == {"detector": {"min_score": 0.6}}


def test_entries_keep_their_variables_and_go_on_without_nodes(tmp_path: Path) -> None:
    site = site_of(tmp_path, "cameras: [{name: gate, url: 'rtsp://${NOT_SET}@camera/1', nodes: [east, east, 010]}]")
    assert site.cameras == (CameraSpec("gate", {"name": "gate", "url": "rtsp://${NOT_SET}@camera/1"}, ("east", "010")),)


def test_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    site = site_of(tmp_path, f"cameras: [{CAMERA}]")
    assert (site.name, site.lease_s, site.on_partition, site.max_moves_per_minute) == ("site", 10.0, "go_on", 4)
    assert (site.analysed_fps, site.nodes, site.settings, site.generation) == (5.0, {}, {}, 1)
    assert site.folder == tmp_path / "state" / "maskstream" / "sites" / "site"


def test_lists_and_the_folder_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "a.yaml").write_text(f"- {CAMERA}\n- {{name: hall, url: 0, nodes: [gpu]}}\n")
    site = site_of(tmp_path, "cameras: [lists/a.yaml]\nfolder: state\nnodes: {10: {labels: [gpu]}}")
    assert [(camera.name, camera.nodes) for camera in site.cameras] == [("gate", ()), ("hall", ("gpu",))]
    assert site.folder == tmp_path / "state"
    assert site.files == (tmp_path / "site.yaml", tmp_path / "lists" / "a.yaml")
    assert site.nodes == {"10": NodeLimits(labels=["gpu"])}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "site.yaml: not a site; see configs/site.yaml"),
        ("{", "site.yaml: not valid YAML: line 1"),
        ("site: a\nsite: b", "site.yaml: line 2: the key site is given twice"),
        ("site: a", "site.yaml: cameras is missing or empty"),
        ("cameras: []", "site.yaml: cameras is missing or empty"),
        (f"site: a/b\ncameras: [{CAMERA}]", "site: 'a/b' is not allowed; value error, expected letters, digits, _ and -"),
        (f"cameras: [{CAMERA}]\nlease: 3", "site.yaml: unknown key lease; did you mean lease_s?"),
        (f"cameras: [{CAMERA}]\nlease_s: 1", "site.yaml: lease_s: 1 is not allowed; input should be greater than or equal to 2"),
        (f"cameras: [{CAMERA}]\non_partition: wait", "on_partition: 'wait' is not allowed; input should be 'go_on' or 'stop'"),
        (f"cameras: [{CAMERA}]\nnodes: {{east: {{capacity: 3}}}}", "unknown key nodes.east.capacity; did you mean capacity_fps?"),
        (f"cameras: [{CAMERA}]\nsettings: {{detector: {{min_scor: 1}}}}", "site.yaml: settings: unknown key detector.min_scor"),
        (f"cameras: [{CAMERA}, {CAMERA}]", "site.yaml: gate: given twice"),
        ("cameras: [clip.mp4]", "cameras: 'clip.mp4' is not allowed; expected a YAML list of cameras, or name and url"),
        ("cameras: [{name: gate}]", "site.yaml: camera 1: url is missing or not text"),
        ("cameras: [{name: gate, url: a, device: cpu}]", "site.yaml: camera 1 (gate): device cannot be set for one camera"),
        (
            "cameras: [{name: gate, url: a, nodes: east}]",
            "camera 1 (gate): nodes: 'east' is not allowed; expected nodes or labels",
        ),
        ("cameras: [{name: gate, url: 'clips/*.mp4'}]", "camera 1 (gate): url: a pattern of files is not allowed"),
        (
            "cameras: [{name: gate, url: a, nodes: [wset]}]\nnodes: {west: {labels: [gpu]}}",
            "site.yaml: gate: nodes: wset is not allowed; allowed: gpu, west (from nodes)",
        ),
    ],
)
def test_a_mistake_is_one_line_with_the_value_and_what_is_allowed(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        site_of(tmp_path, text)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceOpenError, match=r"site\.yaml: no such file; see configs/site\.yaml"):
        read_site(tmp_path / "site.yaml", Config())
    with pytest.raises(SourceOpenError, match=r"a\.yaml: no such file"):
        site_of(tmp_path, "cameras: [a.yaml]")


def test_passwords_do_not_appear_in_messages(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        site_of(tmp_path, "cameras: ['rtsp://anna:sesame77@camera/1']")
    assert "sesame77" not in str(refusal.value)
    assert "sesame77" not in repr(site_of(tmp_path, f"cameras: [{CAMERA}]"))
