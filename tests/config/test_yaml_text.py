import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from maskstream.config.yaml_text import NOT_YAML, GivenTwice, parse_yaml, why_not_yaml

SCALARS = [
    "010",
    "0x1F",
    "on",
    "yes",
    "No",
    "1_000",
    "12:30",
    "2024-01-02",
    "1e3",
    ".5",
    "true",
    "+1",
    "0b1",
    ".inf",
    "3.10",
]


@pytest.mark.parametrize("typed", SCALARS)
def test_a_name_is_what_was_typed(typed: str) -> None:
    assert parse_yaml(f"- {{name: {typed}, other: {typed}}}", ["name"])[0]["name"] == typed
    assert parse_yaml(f"name: [{typed}]", ["name"]) == {"name": [typed]}
    assert parse_yaml(f"name: {{a: {typed}}}", ["name"]) == {"name": {"a": typed}}
    assert parse_yaml(typed, ["name"], "name") == typed
    assert parse_yaml(f"{typed}: 1") == {typed: 1}


def test_what_is_no_name_keeps_its_type() -> None:
    text = "name: null\nurl:\nother: [on, 010, 1.5, 2024-01-02]\nquoted: '010'"
    read = parse_yaml(text, ["name", "url"])
    assert (read["name"], read["url"], read["quoted"]) == (None, None, "010")
    assert read["other"][:3] == [True, 8, 1.5]
    assert parse_yaml("") is None


@pytest.mark.parametrize(
    ("text", "line", "first", "key"),
    [
        ("- name: a\n  url: b\n  name: c\n", 3, 1, "name"),
        ("detector:\n  min_score: 0.1\nstream: {}\ndetector: {}\n", 4, 1, "detector"),
        ("zones:\n  '1': []\n  1: []\n", 3, 2, "1"),
    ],
)
def test_a_key_that_is_given_twice_is_named_with_its_lines(text: str, line: int, first: int, key: str) -> None:
    with pytest.raises(GivenTwice, match=rf"^line {line}: the key {key} is given twice \(first in line {first}\)"):
        parse_yaml(text)


def test_in_one_line_no_lines_are_named() -> None:
    with pytest.raises(GivenTwice, match=r"^the key a is given twice; "):
        parse_yaml("{b: {a: 1, a: 2}}")


def test_keys_may_be_shared_by_anchors() -> None:
    read = parse_yaml("- &one {name: a, x: 1}\n- {<<: *one, name: b}\n- *one\n", ["name"])
    assert read == [{"name": "a", "x": 1}, {"name": "b", "x": 1}, {"name": "a", "x": 1}]
    itself = parse_yaml("&all {name: *all}")
    assert itself["name"] is itself


def test_what_is_wrong_is_said_without_the_text() -> None:
    with pytest.raises(yaml.YAMLError) as caught:
        parse_yaml("a: b\nurl: rtsp://me:secret@cam: [\n")
    assert why_not_yaml(caught.value) == "line 2: mapping values are not allowed here"


PLAIN = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN, inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_what_yaml_writes_is_read_back(value: object) -> None:
    assert parse_yaml(yaml.safe_dump(value)) == value


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    said = ""
    try:
        parse_yaml(text, ["name"])
    except NOT_YAML as error:
        said = why_not_yaml(error)
    assert "\n" not in said
