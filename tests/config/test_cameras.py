from pathlib import Path

import pytest

from maskstream.config.camera_watch import CameraWatch
from maskstream.config.cameras import Camera, read_cameras
from maskstream.config.loading import Layer, load_config, refine
from maskstream.config.schema import Config
from maskstream.errors import ConfigError, MaskStreamError, SourceOpenError
from tests.clocks import ManualClock
from tests.conftest import ROOT


def write(folder: Path, text: str) -> str:
    path = folder / "cameras.yaml"
    path.write_text(text)
    return str(path)


def test_what_is_named_directly_is_a_camera_without_its_password(config: Config) -> None:
    cameras = read_cameras(["0", "clip.mp4", "rtsp://me:secret@cam/1"], config)
    assert [(camera.name, camera.location) for camera in cameras] == [
        ("0", "0"),
        ("clip.mp4", "clip.mp4"),
        ("rtsp://***@cam/1", "rtsp://me:secret@cam/1"),
    ]
    assert all(camera.config is config for camera in cameras)
    assert "secret" not in repr(cameras)


def test_a_list_gives_names_locations_and_settings(tmp_path: Path, config: Config) -> None:
    path = write(
        tmp_path,
        """
- {name: gate, url: "rtsp://cam/1", detector: {min_score: 0.9}, align: {min_face_px: 30}}
- {name: desk, url: 0, webcam: {mirror: true}}
- {name: 3, url: clip.mp4}
""",
    )
    gate, desk, third = read_cameras([path], config)
    assert (gate.name, gate.location, desk.name, desk.location, third.name) == ("gate", "rtsp://cam/1", "desk", "0", "3")
    assert (gate.config.detector.min_score, gate.config.align.min_face_px) == (0.9, 30)
    assert gate.config.align.min_keypoint_score == config.align.min_keypoint_score
    assert (gate.config.webcam.mirror, desk.config.webcam.mirror) == (False, True)
    assert third.config == config


def test_zones_privacy_and_events_of_a_camera(tmp_path: Path, config: Config) -> None:
    path = write(
        tmp_path,
        """
- {name: gate, url: a, zones: {door: [[0, 0], [1, 0], [1, 1]]}, privacy: {blur: all}, events: {min_seconds: 3}}
- {name: hall, url: b}
""",
    )
    gate, hall = read_cameras([path], config)
    assert gate.config.zones == {"door": [[0, 0], [1, 0], [1, 1]]}
    assert (gate.config.privacy.blur, gate.config.privacy.store_crops, gate.config.events.min_seconds) == ("all", False, 3)
    assert (hall.config.zones, hall.config.privacy.blur) == ({}, "none")


@pytest.mark.parametrize("name", ["010", "on", "1_000", "12:30", "2024-01-02", "Null island", "1e3", "3.10"])
def test_a_name_is_what_was_typed(tmp_path: Path, config: Config, name: str) -> None:
    (camera,) = read_cameras([write(tmp_path, f"- {{name: {name}, url: 010}}")], config)
    assert (camera.name, camera.location) == (name, "010")


def test_white_space_around_values_is_left_out(tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of a secret ends with a newline."""
    monkeypatch.setenv("PW", " s3 cret\r\n")
    monkeypatch.setenv("HOST", "cam\n")
    path = write(tmp_path, "- {name: ' gate ', url: \" rtsp://me:${PW}@${HOST}/1\\n\"}")
    (camera,) = read_cameras([path], config)
    assert (camera.name, camera.location) == ("gate", "rtsp://me:s3%20cret@cam/1")


def config_of(*assignments: str) -> tuple[Config, list[Layer]]:
    layers = [Layer.of_assignment(assignment) for assignment in assignments]
    return load_config(None, layers), layers


def test_the_command_line_wins_over_a_cameras_own_settings_and_says_which(tmp_path: Path, said: list[str]) -> None:
    path = write(
        tmp_path,
        """
- {name: gate, url: a, detector: {min_score: 0.9, max_faces: 7}, align: {min_face_px: 30}}
- {name: hall, url: b, detector: {min_score: 0.5}, zones: {door: [[0, 0], [1, 0], [1, 1]]}}
- {name: yard, url: c, zones: {door: [[0, 0], [1, 0], [0, 1]]}}
""",
    )
    config, layers = config_of("detector.min_score=0.5", "align.min_face_px=30.0", "zones={door: [[0, 0], [1, 0], [1, 1]]}")
    gate, hall, yard = read_cameras([path], config, layers)
    assert (gate.config.detector.min_score, gate.config.detector.max_faces, hall.config.detector.min_score) == (0.5, 7, 0.5)
    assert yard.config.zones == hall.config.zones
    (line,) = said
    assert line.startswith(
        "WARNING the command line overrides the list of cameras: gate: detector.min_score is 0.5, not 0.9; yard"
    )
    assert "hall" not in line


def test_a_file_of_settings_stays_below_a_cameras_own(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "site.yaml").write_text("detector: {min_score: 0.3}")
    layers = [Layer.of_assignment("detector.max_faces=5")]
    config = load_config(tmp_path / "site.yaml", layers)
    path = write(tmp_path, "- {name: gate, url: a, detector: {min_score: 0.9}}\n- {name: hall, url: b}")
    gate, hall = read_cameras([path], config, layers)
    assert (gate.config.detector.min_score, hall.config.detector.min_score) == (0.9, 0.3)
    assert (gate.config.detector.max_faces, said) == (5, [])


def test_a_wrong_setting_of_a_camera_is_refused_although_the_command_line_wins(tmp_path: Path) -> None:
    config, layers = config_of("detector.min_score=0.5")
    with pytest.raises(ConfigError, match=r"camera 1 \(gate\): detector.min_score: 7 is not allowed"):
        read_cameras([write(tmp_path, "- {name: gate, url: a, detector: {min_score: 7}}")], config, layers)


def test_the_command_line_wins_over_an_edited_list_too(tmp_path: Path) -> None:
    config, layers = config_of("detector.min_score=0.5")
    path, clock = write(tmp_path, "- {name: gate, url: a}"), ManualClock()
    watch = CameraWatch([path], config, clock, layers)
    write(tmp_path, "- {name: gate, url: a, detector: {min_score: 0.9, max_faces: 7}}")
    looks = []
    for _ in range(3):
        clock.advance(1.0)
        looks.append(watch.poll())
    (edited,) = [look for look in looks if look is not None]
    assert [(each.config.detector.min_score, each.config.detector.max_faces) for each in edited] == [(0.5, 7)]


@pytest.mark.parametrize(
    ("template", "url"),
    [
        ("rtsp://${U}:${P}@cam/1", "rtsp://me:p%40ss%2Fw%3Ard@cam/1"),
        ("${WHOLE}", "rtsp://a:b@cam/1"),
        ("rtsp://${HOST}/1", "rtsp://cam:8554/1"),
        ("http://cam/?token=${P}", "http://cam/?token=p@ss/w:rd"),
        ("rtsp://me:$ecret@cam/1", "rtsp://me:$ecret@cam/1"),
    ],
)
def test_secrets_come_from_the_environment(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch, template: str, url: str
) -> None:
    for name, value in {"U": "me", "P": "p@ss/w:rd", "WHOLE": "rtsp://a:b@cam/1", "HOST": "cam:8554"}.items():
        monkeypatch.setenv(name, value)
    path = write(tmp_path, f"- {{name: gate, url: '{template}'}}")
    assert [camera.location for camera in read_cameras([path], config)] == [url]


def test_the_list_that_comes_with_the_program(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMERA_USER", "viewer")
    monkeypatch.setenv("CAMERA_PASSWORD", "secret")
    cameras = read_cameras([str(ROOT / "configs" / "cameras.yaml")], config)
    assert [camera.name for camera in cameras] == ["entrance", "corridor", "lab", "gate", "desk"]
    assert cameras[0].location == "rtsp://viewer:secret@192.0.2.10:554/stream1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a list of cameras"),
        ("[]", "not a list of cameras"),
        ("gate: rtsp://cam/1", "not a list of cameras"),
        ("- [", "not valid YAML"),
        ("- rtsp://cam/1", "camera 1: expected name and url"),
        ("- {url: rtsp://cam/1}", "camera 1: name is missing"),
        ("- {name: gate}", "camera 1: url is missing"),
        ("- {name: gate, url: [1]}", "camera 1: url is missing or not text"),
        ("- {name: gate, url: 'rtsp://${NOT_SET}@cam'}", "camera 1 (gate): the environment variable NOT_SET is not set"),
        ("- {name: gate, url: 'rtsp://${@cam'}", "is not set"),
        ("- {name: gate, url: a, detector: {min_score: 7}}", "camera 1 (gate): detector.min_score: 7 is not allowed"),
        ("- {name: gate, url: a, detector: 7}", "camera 1 (gate): detector cannot be set for one camera"),
        ("- {name: gate, url: a, detector: {name: coco_resnet50}}", "detector.name cannot be set for one camera"),
        ("- {name: gate, url: a, device: cpu}", "device cannot be set for one camera; allowed: detector.min_score"),
        ("- {name: gate, url: a, align: {min_face: 3}}", "align.min_face cannot be set"),
        ("- {name: gate, url: a, events: {mqtt: 'mqtt://h'}}", "events.mqtt cannot be set for one camera"),
        ("- {name: gate, url: a, zones: {door: [[0, 0], [2, 0], [1, 1]]}}", "camera 1 (gate): zones.door: 2"),
        ("- {name: gate, url: a}\n- {name: gate, url: b}", "gate: given twice"),
        ("- name: a\n  url: b\n  name: c\n  url: d", "cameras.yaml: line 3: the key name is given twice (first in line 1)"),
        ("- {name: , url: a}", "camera 1: name is missing"),
        ("- {name: gate, url: '  '}", "camera 1: url is missing"),
    ],
)
def test_a_wrong_list_is_one_clear_line(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(ConfigError) as caught:
        read_cameras([write(tmp_path, text)], config)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("locations", "kind"), [(["none.yaml"], SourceOpenError), (["a.mp4", "a.mp4"], ConfigError), ([str(ROOT / "assets")], None)]
)
def test_what_is_no_list(config: Config, locations: list[str], kind: type[MaskStreamError] | None) -> None:
    if kind is None:
        assert read_cameras(locations, config)[:1] == [Camera(locations[0], locations[0], config)]
    else:
        with pytest.raises(kind):
            read_cameras(locations, config)


CHANGES = {
    "detector": {"min_score": 0.9, "min_face_px": 20.0, "max_faces": 7, "region": [0, 0, 0.5, 1]},
    "classifier": {"incorrect_as": "incorrect", "max_background": 0.1},
    "align": {"min_face_px": 40.0, "min_keypoint_score": 0.9, "min_uncertain_score": 0.9, "min_unknown_score": 0.9},
    "zones": {"door": [[0, 0], [1, 0], [1, 1]]},
    "privacy": {"blur": "all", "store_crops": True},
    "events": {"labels": ["mask"], "min_seconds": 9.0, "update_s": 9.0},
    "network": {"transport": "udp", "open_timeout_s": 9.0, "read_timeout_s": 9.0, "keep_damaged": True, "max_reconnects": 3},
    "webcam": {"width": 320, "height": 240, "fps": 5.0, "mirror": True},
    "video": {"crf": 40, "preset": "slow", "segment_s": 9.0},
}
OPENED_WITH = {"network", "webcam", "video"}


@pytest.mark.parametrize(("section", "key"), [(section, key) for section, keys in CHANGES.items() for key in keys])
def test_which_settings_open_a_camera_anew(config: Config, section: str, key: str) -> None:
    changed = refine(config, Layer("test", {section: {key: CHANGES[section][key]}}))
    assert changed != config
    assert Camera("gate", "a", config).opens_like(Camera("gate", "a", changed)) is (section not in OPENED_WITH)


def test_another_place_opens_a_camera_anew(config: Config) -> None:
    assert not Camera("gate", "rtsp://a", config).opens_like(Camera("gate", "rtsp://b", config))


@pytest.mark.parametrize(("location", "answer"), [("rtsp://cam/1", True), ("0", True), ("clip.mp4", False), ("photos", False)])
def test_what_may_come_back(config: Config, location: str, answer: bool) -> None:
    assert Camera("gate", location, config).may_come_back is answer
