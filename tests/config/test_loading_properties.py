"""Whatever is written into a configuration, it is taken or refused in one line; layers lie over each other as said."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from maskstream import load_config
from maskstream.config.cameras import read_cameras
from maskstream.config.loading import Layer, read_yaml, refine
from maskstream.config.schema import Config
from maskstream.errors import ConfigError
from tests.properties import examples

BASE = load_config()
DEFAULTS: dict[str, Any] = BASE.model_dump()

# Values that are right for their keys, and of which any may follow any.
GOOD: dict[str, st.SearchStrategy[Any]] = {
    "detector.min_score": st.floats(0, 1),
    "detector.region": st.sampled_from([None, [0.0, 0.1, 0.5, 1.0], [0.5, 0.5, 1.0, 1.0]]),
    "detector.weights": st.none() | st.text(max_size=8),
    "stream.stride": st.integers(1, 9),
    "stream.realtime": st.booleans(),
    "events.labels": st.lists(st.sampled_from(["mask", "no_mask"]), max_size=2),
    "zones.door": st.sampled_from([[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]], [[0.0, 0.0], [0.5, 0.0], [0.5, 0.5]]]),
    "zones.hall": st.just([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
    "evaluation.labels.mouth": st.sampled_from(["mask", "ignore"]),
    "device": st.text(max_size=5),
}


@st.composite
def good_layers(draw: st.DrawFn) -> Layer:
    """A layer of some right values."""
    keys = draw(st.lists(st.sampled_from(sorted(GOOD)), unique=True))
    return Layer("test", nested({key: draw(GOOD[key]) for key in keys}))


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by dotted keys as a file has them."""
    values: dict[str, Any] = {}
    for key, value in settings.items():
        *path, last = key.split(".")
        section = values
        for part in path:
            section = section.setdefault(part, {})
        section[last] = value
    return values


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return values by dotted keys; what is no section is one value."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return found


@given(layers=st.lists(good_layers(), max_size=4))
def test_later_layers_win_and_what_they_leave_out_stays(layers: list[Layer]) -> None:
    expected = flat(DEFAULTS)
    for layer in layers:
        expected |= flat(layer.values)
    if any(key.startswith("zones.") for key in expected):
        expected.pop("zones", None)  # what is empty by default
    assert flat(load_config(layers=layers).model_dump()) == expected


@given(layers=st.lists(good_layers(), max_size=4), split=st.integers(0, 4))
def test_it_makes_no_difference_when_a_layer_is_laid_over(layers: list[Layer], split: int) -> None:
    at_once = load_config(layers=layers)
    config = load_config(layers=layers[:split])
    for layer in layers[split:]:
        config = refine(config, layer)
    assert config == at_once
    together: dict[str, Any] = {}
    for layer in layers[split:]:
        together |= flat(layer.values)
    assert refine(load_config(layers=layers[:split]), Layer("all the rest", nested(together))) == at_once


@examples(0.5)
@given(layers=st.lists(good_layers(), min_size=1, max_size=3))
def test_a_file_is_a_layer_as_any_other(tmp_path_factory: pytest.TempPathFactory, layers: list[Layer]) -> None:
    path = tmp_path_factory.mktemp("config") / "mine.yaml"
    path.write_text(yaml.safe_dump(dict(layers[0].values)), encoding="utf-8")
    assert load_config(path, layers[1:]) == load_config(layers=layers)


@given(key=st.sampled_from(sorted(key for key in GOOD if not key.startswith(("zones", "evaluation")))), data=st.data())
def test_an_assignment_is_a_layer_as_any_other(key: str, data: st.DataObject) -> None:
    value = data.draw(GOOD[key])
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf")).removesuffix("...\n")
    assert refine(BASE, Layer.of_assignment(f"{key}={text}")) == refine(BASE, Layer.of_key("test", key, value))


KEYS = st.one_of(
    st.sampled_from(sorted({part for key in flat(DEFAULTS) for part in key.split(".")})),
    st.text(max_size=5),
    st.integers(-2, 2),
    st.none() | st.booleans() | st.floats(),
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | st.binary(max_size=4)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
SECTIONS = st.sampled_from([*Config.model_fields, "wrong"])
TREES = st.dictionaries(SECTIONS, VALUES | st.dictionaries(KEYS, VALUES, max_size=3), max_size=4)
# What YAML takes for numbers, times and more, and is none.
TYPED = st.sampled_from(
    [
        *(
            "2024-13-45",
            "0b_",
            "0x_",
            "!!int x",
            "!!float x",
            "!!timestamp x",
            "!!bool x",
            "!!null x",
            "!!binary é",
            "<<",
            "=",
            "1:99",
        ),
        *("&a [*a]", "&a {detector: *a}", "*a", "!!python/object:os.system {}", "!!set {a}", "!!omap [a: 1]", "!!pairs [a]"),
        *(
            "{[1]: 2}",
            "{{a: 1}: 2}",
            "<<: 3",
            "<<: [1]",
            "%YAML 9.9",
            "---\na\n---\nb",
            "\t",
            "? ",
            "'",
            "|",
            "0o8",
            "08",
            "1e999",
        ),
        *("99999-01-01", "2024-02-30T25:61:61Z", "2001-01-01 00:00:00 +99:99", "9" * 5000, "." * 9, ".inf", "-.inf", ".nan"),
    ]
)
TEXTS = st.one_of(
    TREES.map(lambda tree: yaml.safe_dump(tree, allow_unicode=True)),
    VALUES.map(lambda value: yaml.safe_dump(value)),
    st.text(max_size=30),
    TYPED,
    st.tuples(st.sampled_from(["detector", "zones", "detector: {min_score", "events: {webhooks"]), TYPED).map(
        lambda pair: f"{pair[0]}: {pair[1]}" + "}" * ("{" in pair[0])
    ),
    st.sampled_from(["[" * 1500, "{a: " * 1000, "- " * 1500, "a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]"]),
    st.binary(max_size=20),
)


def check(error: ConfigError, begins: str = "") -> None:
    """Its message is one line, and says first where the mistake is."""
    message = str(error)
    assert len(message.splitlines()) == 1
    assert message.isprintable()
    assert message.startswith(begins)


@examples(2)
@given(text=TEXTS)
@example(text="detector: {'min\nscore': 1}")
@example(text="zones: {'a\nb': 1}")
@example(text="events: {webhooks: [{url: a, 'c\nd': 1}]}")
def test_any_yaml_is_taken_or_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, text: str | bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"))
    try:
        assert isinstance(refine(BASE, Layer.of_file(path)), Config)
    except ConfigError as error:
        check(error, str(path))


@examples(2)
@given(tree=TREES)
def test_any_layer_is_taken_or_refused_in_one_line(tree: dict[str, Any]) -> None:
    try:
        assert isinstance(refine(BASE, Layer("test", tree)), Config)
    except ConfigError as error:
        check(error, "test: ")


@given(key=st.one_of(st.sampled_from(sorted(flat(DEFAULTS))), st.text(max_size=8)), text=st.text(max_size=12) | TYPED)
@example(key="detector\n.x", text="1")
@example(key="detector.min_score", text="[" * 1500)
def test_any_assignment_is_taken_or_refused_in_one_line(key: str, text: str) -> None:
    try:
        assert isinstance(refine(BASE, Layer.of_assignment(f"{key}={text}")), Config)
    except ConfigError as error:
        check(error, "--set ")


@examples(2)
@given(
    entries=VALUES
    | st.lists(st.fixed_dictionaries({"name": VALUES | st.text(max_size=5), "url": VALUES | st.text(max_size=9)}), max_size=3)
    | st.lists(TREES.map(lambda tree: {"name": "gate", "url": "rtsp://cam/1", **tree}), max_size=2)
)
@example(entries=[{"name": "a\nb", "url": "rtsp://cam", "x\ny": 1}])
def test_any_list_of_cameras_is_taken_or_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, entries: object) -> None:
    path = tmp_path_factory.getbasetemp() / "cameras.yaml"
    path.write_text(yaml.safe_dump(entries), encoding="utf-8")
    try:
        cameras = read_cameras([str(path)], BASE)
    except ConfigError as error:
        check(error)
    else:
        assert len(cameras) == len(read_yaml(path))
        assert len({camera.name for camera in cameras}) == len(cameras)


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("events: {mqtt: [mqtt://me:pass1234@host]}", "pass1234"),
        ("events: {webhooks: ['https://host/x?token=pass1234']}", "pass1234"),
        ("events: {webhooks: [{url: [https://me:pass1234@host]}]}", "pass1234"),
        ("events: {webhooks: [{url: https://host, secret: [20241234]}]}", "20241234"),
    ],
)
def test_a_message_has_no_password_in_it(tmp_path: Path, text: str, hidden: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match="is not allowed") as caught:
        load_config(tmp_path / "mine.yaml")
    assert hidden not in str(caught.value)
    assert "host" in str(caught.value) or "secret" in str(caught.value)
