"""Editing a list changes only the lines of the edit."""

from collections.abc import Callable
from difflib import unified_diff
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskstream.config.cameras import list_entries
from maskstream.errors import ConfigError
from maskstream.web.camera_edit import edited_list, index_of
from tests.conftest import ROOT
from tests.properties import examples

DOOR = [[0, 0], [1, 0], [0.5, 0.25]]
LIST = """\
# yaml-language-server: $schema=cameras.schema.json
# The cameras of the ward

- name: "entrance"   # front
  url: 'rtsp://${USER}:${PASSWORD}@192.0.2.10:554/stream1'
  # detector:
  #   min_score: 0.3

# about corridor
- name: corridor                # a long view
  url: rtsp://x/1
  detector:
    min_score:   0.80   # high
  align: {min_face_px: 16 , min_keypoint_score: 0.5}

# about lab
# second line
- name: lab
  url: 010
  zones:                        # polygons
    bench: [[0, 0.4],[0.3,0.4], [0.3, 1],
            [0, 1]]   # the bench
    door: [[0.4, 0.3], [0.6, 0.3], [0.6, 1], [0.4, 1]]  # the door
  privacy:
    blur: unmasked              # anonymise

# about gate
-   name: gate
    url: http://x
    network:
        snapshot_s: 5    # seconds
# the end
"""


def change(text: str, name: str, edit: Callable[[dict[str, Any]], None]) -> str:
    """Return a list after an edit of one entry."""
    entries = list_entries("cameras.yaml", text)
    index = index_of(entries, name)
    assert index is not None
    after = {**entries[index]}
    edit(after)
    return edited_list("cameras.yaml", text, name, after)


def difference(before: str, after: str) -> str:
    """Return the changed lines, each with - or +."""
    lines = unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))


def settings(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda entry: entry.update(values)


def without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda entry: entry.pop(key)


@pytest.mark.parametrize(
    ("name", "edit", "lines"),
    [
        (
            "entrance",
            settings(url="rtsp://${USER}:${PASSWORD}@192.0.2.99/2"),
            """\
-  url: 'rtsp://${USER}:${PASSWORD}@192.0.2.10:554/stream1'
+  url: 'rtsp://${USER}:${PASSWORD}@192.0.2.99/2'""",
        ),
        (
            "corridor",
            settings(detector={"min_score": 0.5}),
            """\
-    min_score:   0.80   # high
+    min_score: 0.5      # high""",
        ),
        ("corridor", without("align"), "-  align: {min_face_px: 16 , min_keypoint_score: 0.5}"),
        (
            "corridor",
            without("detector"),
            """\
-  detector:
-    min_score:   0.80   # high""",
        ),
        (
            "corridor",
            settings(zones={"door": DOOR}),
            """\
+  zones:
+    door: [[0, 0], [1, 0], [0.5, 0.25]]""",
        ),
        (
            "entrance",
            settings(privacy={"blur": "all"}),
            """\
+  privacy:
+    blur: all""",
        ),
        (
            "lab",
            lambda entry: entry.update(zones={**entry["zones"], "door": DOOR}),
            """\
-    door: [[0.4, 0.3], [0.6, 0.3], [0.6, 1], [0.4, 1]]  # the door
+    door: [[0, 0], [1, 0], [0.5, 0.25]]                 # the door""",
        ),
        (
            "lab",
            lambda entry: entry.update(zones={"door": entry["zones"]["door"]}),
            """\
-    bench: [[0, 0.4],[0.3,0.4], [0.3, 1],
-            [0, 1]]   # the bench""",
        ),
        (
            "lab",
            without("privacy"),
            """\
-  privacy:
-    blur: unmasked              # anonymise""",
        ),
        ("gate", settings(network={"snapshot_s": 5, "verify_tls": False}), "+        verify_tls: false"),
        (
            "gate",
            settings(zones={"on": DOOR}),
            """\
+    zones:
+        "on": [[0, 0], [1, 0], [0.5, 0.25]]""",
        ),
    ],
)
def test_only_the_lines_of_the_edit_change(name: str, edit: Callable[[dict[str, Any]], None], lines: str) -> None:
    assert difference(LIST, change(LIST, name, edit)) == lines


def test_comments_of_an_entry_go_with_it_and_those_of_the_next_one_stay() -> None:
    after = edited_list("cameras.yaml", LIST, "corridor", None)
    assert after == LIST[: LIST.index("# about corridor")] + LIST[LIST.index("# about lab") :]
    first = edited_list("cameras.yaml", LIST, "entrance", None)
    assert first == LIST[: LIST.index('\n- name: "entrance"')] + LIST[LIST.index("\n# about corridor") :]
    last = edited_list("cameras.yaml", LIST, "gate", None)
    assert last == LIST[: LIST.index("# about gate")] + "# the end\n"


def test_keys_that_are_commented_out_stay_when_the_next_entry_is_removed() -> None:
    """ruamel.yaml assigns comments after a list in one line to the entry that follows."""
    first = "- name: a\n  url: b\n  zones:\n    x: [[0, 0], [1, 0], [1, 1]]\n  # privacy:\n  #   blur: all\n"
    rest = "- name: e\n  url: f\n"
    for middle, left in (("- name: c\n  url: d\n", ""), ("\n# about c\n- name: c\n  url: d\n  # its own\n", "\n")):
        assert edited_list("l.yaml", first + middle + rest, "c", None) == first + left + rest


@pytest.mark.parametrize("name", ["entrance", "corridor", "lab", "gate", "desk"])
def test_the_shipped_list_loses_exactly_one_paragraph(name: str) -> None:
    text = (ROOT / "configs" / "cameras.yaml").read_text()
    after = edited_list("cameras.yaml", text, name, None)
    paragraphs = text.rstrip("\n").split("\n\n")
    assert after.rstrip("\n").split("\n\n") == [each for each in paragraphs if not each.startswith(f"- name: {name}")]


def test_a_camera_is_added_as_the_others_are_written() -> None:
    added = {"name": "010", "url": "rtsp://h/1", "zones": {"door": DOOR}, "detector": {"min_score": 0.5}}
    text = (ROOT / "configs" / "cameras.yaml").read_text()
    lines = """

- name: "010"
  url: rtsp://h/1
  zones:
    door: [[0, 0], [1, 0], [0.5, 0.25]]
  detector:
    min_score: 0.5
"""
    assert edited_list("cameras.yaml", text, "010", added) == text.rstrip("\n") + lines
    deep = "  -   name: a\n      url: b\n      zones:\n         x: [[0,0],[1,0],[1,1]]"
    assert edited_list("cameras.yaml", deep, "c", {"name": "c", "url": "d", "zones": {"x": DOOR}}) == (
        f"{deep}\n  -   name: c\n      url: d\n      zones:\n         x: [[0, 0], [1, 0], [0.5, 0.25]]"
    )


@pytest.mark.parametrize(
    "text",
    [
        "[{name: a, url: b}, {name: c, url: d}]\n",
        '[{"name": "a", "url": "b"},\n {"name": "c", "url": "d"}]',
        "- {name: a, url: b}\n- {name: c, url: d}\n",
        "- name: a\n  url: b\n  network: &n\n    snapshot_s: 5\n- name: c\n  url: d\n  network: *n\n",
        "- &base\n  name: a\n  url: b\n  privacy: {blur: all}\n- <<: *base\n  name: c\n",
        "---\n-\n  name: a\n  url: >-\n    b\n- name: c\n  url: d\n...\n",
        "- name: a\r\n  url: b\r\n\r\n- name: c # c\r\n  url: d\r\n",
        "- name: a\n  url: b\n- name: c\n  url: d\n  detector: {region: [0, 0, 1,\n    1]}",
        "- 'name': a\n  ? url\n  : b\n- {name: c, url: d}\n",
        "- name: a\n  url: b\n-   name: c\n    url: d\n    zones:\n      x:\n      - [0, 0]\n      - [1, 0]\n      - [1, 1]\n",
    ],
)
def test_any_form_of_yaml_is_edited_or_refused(text: str) -> None:
    for edit in (settings(url="rtsp://h:1/x#y: z"), settings(zones={"1": DOOR}, detector={"min_score": 0.25, "max_faces": 7})):
        after = change(text, "c", edit)
        (first, second) = list_entries("cameras.yaml", after)
        expected = {**list_entries("cameras.yaml", text)[1]}
        edit(expected)
        assert (first, second) == (list_entries("cameras.yaml", text)[0], expected)
        assert after.count("\r\n") in (0, after.count("\n"))
    (kept,) = list_entries("cameras.yaml", edited_list("cameras.yaml", text, "a", None))
    assert kept == list_entries("cameras.yaml", text)[1]
    three = edited_list("cameras.yaml", text, "e", {"name": "e", "url": "f"})
    assert list_entries("cameras.yaml", three)[2:] == [{"name": "e", "url": "f"}]


def test_yaml_that_only_our_reader_accepts_is_refused() -> None:
    text = "- name: a\n  url: b\n  zones: {x: !!python/none }\n"
    with pytest.raises(ConfigError) as refusal:
        edited_list("cameras.yaml", text, "c", {"name": "c", "url": "d"})
    assert "cameras.yaml" in str(refusal.value)


COMMENT = st.sampled_from(["", "   # a note", " #x"])
NUMBER = st.sampled_from(["0", "1", "0.50", "0.3", ".25"])
POLYGON = st.lists(st.tuples(NUMBER, NUMBER), min_size=3, max_size=5).map(
    lambda corners: "[" + ", ".join(f"[{x}, {y}]" for x, y in corners) + "]"
)


@st.composite
def entries(draw: st.DrawFn, name: str) -> tuple[list[str], list[str]]:
    """Return the lines above an entry, and its own."""
    above = draw(st.sampled_from([[], ["# about it"], ["", "# about it", "# more"], [""]]))
    url = draw(st.sampled_from(["rtsp://h/1", "0", "${CAMERA_1}", '"x"']))
    lines = [f"- name: {name}{draw(COMMENT)}", f"  url: {url}{draw(COMMENT)}"]
    if draw(st.booleans()):
        lines += [f"  zones:{draw(COMMENT)}", *(f"    {zone}: {draw(POLYGON)}{draw(COMMENT)}" for zone in ("a", "b"))]
    if draw(st.booleans()):
        lines += ["  detector:", f"    min_score:  {draw(NUMBER)}{draw(COMMENT)}"]
    if draw(st.booleans()):
        lines += ["", "  # privacy:", "  #   blur: all"]
    if draw(st.booleans()):
        lines += [f"  align: {{min_face_px: 16 , min_keypoint_score: 0.5}}{draw(COMMENT)}"]
    return above, lines


@st.composite
def lists(draw: st.DrawFn) -> list[tuple[list[str], list[str]]]:
    return [draw(entries(f"camera{number}")) for number in range(draw(st.integers(2, 4)))]


CHANGES: list[dict[str, Any]] = [
    {"url": "rtsp://other/2"},
    {"zones": {"a": DOOR}},
    {"zones": {"a": DOOR, "c": DOOR}, "align": {"min_face_px": 20}},
    {"privacy": {"blur": "all"}, "detector": {"min_score": 0.9}},
    {},
]


@examples(0.5)
@given(lists(), st.integers(0, 3), st.sampled_from(CHANGES))
def test_properties_other_entries_keep_every_line(
    listed: list[tuple[list[str], list[str]]], number: int, wanted: dict[str, Any]
) -> None:
    number %= len(listed)
    name = f"camera{number}"
    text = "\n".join("\n".join([*above, *lines]) for above, lines in listed) + "\n"
    others = [line for above, lines in listed[:number] + listed[number + 1 :] for line in [*above, *lines] if line]
    url = list_entries("l.yaml", text)[number]["url"]
    after = iter(edited_list("l.yaml", text, name, {"name": name, "url": url, **wanted}).splitlines())
    assert [line for line in others if not any(line == each for each in after)] == []  # in order
    removed = [line for line in edited_list("l.yaml", text, name, None).splitlines() if line]
    head = [line for line in listed[0][0] if line] if number == 0 else []
    assert removed in (others, [*head, *others])  # the first comment is that of the file
    assert edited_list("l.yaml", text, "new", {"name": "new", "url": "x"}).startswith(text)
