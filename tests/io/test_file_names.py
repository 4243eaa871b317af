import os
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskstream.errors import SinkError
from maskstream.io.file_names import MOST_BYTES, FileNames, claim, numbered, plain_name, shortened

DECOMPOSED = unicodedata.normalize("NFD", "Tür")


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("rtsp://***@cam:554/s?c=1", "cam_554_s_c_1"),
        (DECOMPOSED, unicodedata.normalize("NFC", "Tür")),
        ("द्वार", "द्वार"),
        ("../../etc/passwd", "etc_passwd"),
        ("a\nb\0c\udc80d", "a_b_c_d"),
        ("///", "camera"),
        ("", "camera"),
    ],
)
def test_what_stays_of_a_name(name: str, plain: str) -> None:
    assert plain_name(name) == plain


def test_long_names_are_bounded_in_bytes_and_stay_distinct(tmp_path: Path) -> None:
    names = [sign * 300 + end for sign in "aü門😀" for end in "12"]
    plain = list(map(plain_name, names))
    assert len(set(plain)) == len(names)
    for each in plain:
        (tmp_path / f"{each}_12345.mp4").touch()


@given(st.text(max_size=300))
def test_any_name_is_a_file_name_properties(name: str) -> None:
    plain = plain_name(name)
    assert plain
    assert plain == unicodedata.normalize("NFC", plain)
    assert not {"/", "\0", "\n"} & set(plain)
    assert len(os.fsencode(plain)) <= 200


@given(st.lists(st.text(alphabet="aAäÄ ä_ß1.", max_size=4), min_size=1, unique=True))
def test_no_two_sources_have_one_name_properties(sources: list[str]) -> None:
    names = FileNames()
    given_names = [names.of(each, f"{plain_name(each)}.mp4") for each in sources]
    folded = {unicodedata.normalize("NFKC", each).casefold() for each in given_names}
    assert len(folded) == len(sources)
    assert [names.of(each, f"{plain_name(each)}.mp4") for each in sources] == given_names


def test_names_that_a_file_system_may_take_for_one_are_kept_apart() -> None:
    names = FileNames()
    wishes = [("hall 1", "hall_1.mp4"), ("hall_1", "hall_1.mp4"), ("HALL 1", "HALL_1.mp4"), ("hall_1_2", "hall_1_2.mp4")]
    assert [names.of(*wish) for wish in wishes] == ["hall_1.mp4", "hall_1_2.mp4", "HALL_1_3.mp4", "hall_1_2_2.mp4"]
    assert names.of("hall 1", "hall_1.mp4") == "hall_1.mp4"


def test_parts_have_numbers_and_room_for_them() -> None:
    assert [numbered("a/hall.b.mp4", number) for number in (1, 2, 1000)] == [
        "a/hall.b.mp4",
        "a/hall.b_002.mp4",
        "a/hall.b_1000.mp4",
    ]
    long = f"a/{'g' * 251}.mp4"
    assert len(Path(numbered(long, 2)).name) == MOST_BYTES
    assert numbered(long, 2) != numbered(f"a/{'g' * 250}h.mp4", 2)


def test_bytes_that_are_no_text_are_shortened_too() -> None:
    name = os.fsdecode(b"\xff" * 300)
    assert len(os.fsencode(shortened(name, 100))) <= 100
    assert shortened(name[:50], 100) == name[:50]


def test_a_name_is_claimed_once_by_many_threads(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda _: claim(str(tmp_path / "hall.mp4")), range(40)))
    assert sorted(number for _, number in claimed) == list(range(1, 41))
    assert {path for path, _ in claimed} == {str(path) for path in tmp_path.iterdir()}


def test_a_link_to_nowhere_is_no_free_name(tmp_path: Path) -> None:
    (tmp_path / "hall.mp4").symlink_to(tmp_path / "elsewhere.mp4")
    assert claim(str(tmp_path / "hall.mp4")) == (str(tmp_path / "hall_002.mp4"), 2)
    assert not (tmp_path / "elsewhere.mp4").exists()


def test_where_nothing_can_be_made_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="No such file or directory"):
        claim(str(tmp_path / "gone" / "hall.mp4"))
