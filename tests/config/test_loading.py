import re
from pathlib import Path

import pytest

from maskstream.config.loading import Layer, load_config, refine, text_keys
from maskstream.config.schema import Config
from maskstream.errors import ConfigError
from tests.conftest import ROOT


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_nothing_given_is_the_defaults() -> None:
    assert load_config() == Config() == load_config(ROOT / "configs" / "default.yaml")


@pytest.mark.parametrize("assignment", ["evaluation.labels.helmet=no_mask", "clip.prompts.incorrect=[a mask below the nose]"])
def test_a_setting_of_a_mapping_keeps_the_other_keys(assignment: str) -> None:
    config = load_config(layers=[Layer.of_assignment(assignment)])
    assert (
        len(config.evaluation.labels) + len(config.clip.prompts)
        == len(Config().evaluation.labels) + len(Config().clip.prompts) + 1
    )
    assert Config() == load_config()


@pytest.mark.parametrize(
    "path",
    [path for path in sorted((ROOT / "configs").glob("*.yaml")) if not re.match("cameras|evaluation_|site|train_", path.name)],
    ids=lambda path: path.name,
)
def test_every_config_that_comes_with_the_program_loads(path: Path) -> None:
    assert isinstance(load_config(path), Config)


def test_later_layers_win_and_the_rest_stays(tmp_path: Path) -> None:
    path = write(tmp_path, "detector: {min_score: 0.5, max_faces: 7}\n")
    config = load_config(path, [Layer.of_assignment("detector.min_score=0.9"), Layer.of_key("--stride", "stream.stride", 3)])
    assert (config.detector.min_score, config.detector.max_faces, config.stream.stride) == (0.9, 7, 3)
    assert config.detector.name == load_config().detector.name


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "# nothing\n")) == load_config()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("detector: {min_scor: 0.5}", ["mine.yaml", "detector.min_scor", "min_score", "unknown key"]),
        ("wrong: 1", ["mine.yaml", "unknown key wrong", "detector", "video"]),
        ("detector: {min_score: 1.5}", ["mine.yaml", "detector.min_score", "1.5", "less than or equal to 1"]),
        ("detector: {min_score: .nan}", ["mine.yaml", "detector.min_score", "nan"]),
        ("detector: {region: [0.5, 0, 0.5, 1]}", ["detector.region", "[0.5, 0, 0.5, 1]", "left < right"]),
        ("detector: {region: [0, 0, 1]}", ["detector.region", "at least 4 items"]),
        ("detector: {region: [0, 0, 1, 200]}", ["detector.region", "200", "less than or equal to 1"]),
        ("detector: {max_faces: 0}", ["detector.max_faces", "0", "greater than or equal to 1"]),
        ("detector: {max_faces: true}", ["detector.max_faces", "True", "integer"]),
        ("classifier: {incorrect_as: maybe}", ["classifier.incorrect_as", "maybe", "no_mask", "incorrect"]),
        ("video: {preset: slowest}", ["video.preset", "slowest", "veryfast"]),
        ("detector: 5", ["mine.yaml", "detector", "5"]),
        ("events: {webhooks: [{url: a, secrt: b}]}", ["mine.yaml", "unknown key events.webhooks.0.secrt", "url, secret"]),
        ("events: {webhooks: [{secret: b}]}", ["mine.yaml", "events.webhooks.0.url is missing; add it"]),
        (
            "events: {webhooks: [{urll: a}]}",
            ["mine.yaml", "unknown key events.webhooks.0.urll; did you mean url? allowed here: url, secret, name"],
        ),
        ("events: {webhooks: [{Url: a, secret: b}]}", ["unknown key events.webhooks.0.Url; did you mean url?"]),
        ("events: {webhooks: [{secret: 5, ur1: a}]}", ["unknown key events.webhooks.0.ur1; did you mean url?"]),
        ("events: {webhooks: [{url: a, secret: [5]}]}", ["events.webhooks.0.secret: *** is not allowed"]),
        ("events: {webhooks: [a]}", ["events.webhooks: 'a' is not allowed; expected keys: url, secret, name"]),
        ("events: {webhook: [{url: a}]}", ["unknown key events.webhook; did you mean webhooks?"]),
        ('zones: {"a\\nb": 1}', ["mine.yaml", r"zones.a\nb: 1 is not allowed"]),
        ("video: {crf: 2024-13-45}", ["mine.yaml", "not valid YAML", "month must be in 1..12"]),
        ("[" * 2000, ["mine.yaml", "not valid YAML"]),
        ("- a\n- b", ["mine.yaml", "expected keys"]),
        ("a: [", ["mine.yaml", "not valid YAML"]),
        ("video: {}\nwindow: {}\nvideo: {}", ["mine.yaml: line 3: the key video is given twice (first in line 1)"]),
    ],
)
def test_a_mistake_names_file_key_value_and_what_is_allowed(tmp_path: Path, text: str, said: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text))
    assert [part for part in said if part not in str(caught.value)] == []
    assert "\n" not in str(caught.value)


def test_a_missing_or_binary_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ConfigError, match=r"binary\.yaml: cannot be read: not text"):
        load_config(tmp_path / "binary.yaml")


def test_what_is_text_is_told_by_its_type() -> None:
    texts = {"name", "url", "secret", "mqtt", "queue", "snapshots", "weights", "device", "model"}
    assert texts <= text_keys()
    assert not text_keys() & {"labels", "blur", "every", "prompts", "region", "webhooks", "zones", "min_score"}


def test_addresses_and_secrets_are_what_was_typed(tmp_path: Path) -> None:
    path = write(tmp_path, "events: {mqtt: 010, webhooks: [{url: 1_0, secret: 0123}]}")
    events = load_config(path, [Layer.of_assignment("events.mqtt=12:30")]).events
    assert (events.mqtt, events.webhooks[0].url, events.webhooks[0].secret) == ("12:30", "1_0", "0123")
    assert load_config(path, [Layer.of_assignment("events.mqtt=null")]).events.mqtt is None
    assert load_config(path, [Layer.of_assignment("window.snapshots=2024-01-02")]).window.snapshots == "2024-01-02"


def test_a_key_of_a_setting_that_is_given_twice_is_said() -> None:
    with pytest.raises(ConfigError, match=r"^--set zones=\{a: 1, a: 2\}: the key a is given twice"):
        Layer.of_assignment("zones={a: 1, a: 2}")


def test_the_line_of_a_mistake_is_named_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mine.yaml: not valid YAML: line 2: mapping values") as caught:
        load_config(write(tmp_path, "events:\n  mqtt: mqtt://me:pass1234@h: [\n"))
    assert "pass1234" not in str(caught.value)


@pytest.mark.parametrize("assignment", ["detector.min_score", "=3", "a..b=3", "a=["])
def test_a_broken_assignment_is_said(assignment: str) -> None:
    with pytest.raises(ConfigError, match=r"^--set "):
        Layer.of_assignment(assignment)


def test_a_single_setting_is_named_as_the_culprit(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--set detector.min_score: detector.min_score: 7 is not allowed"):
        load_config(write(tmp_path, "detector: {min_score: 0.5}"), [Layer.of_assignment("detector.min_score=7")])


@pytest.mark.parametrize("value", ["12", "5000", "large", "1.5", "true"])
def test_a_short_side_that_is_not_allowed_is_refused_with_the_allowed_values(value: str) -> None:
    with pytest.raises(ConfigError, match=r"detector.short_side: .* is not allowed; expected auto, null, or a whole number of"):
        load_config(layers=[Layer.of_assignment(f"detector.short_side={value}")])


def test_the_accurate_profile_changes_only_these_settings() -> None:
    changed = {"detector": {"every": 1, "short_side": "auto"}}
    assert load_config(ROOT / "configs" / "accurate.yaml") == refine(load_config(), Layer("test", changed))
