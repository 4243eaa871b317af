import subprocess
import sys
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskstream.rendering import fonts, text
from maskstream.rendering.text import draw_text, text_alpha, text_width
from maskstream.types import BgrImage
from tests.conftest import ROOT
from tests.properties import examples

HEIGHT_PX = 22.0
GREY, WHITE = 100, (255, 255, 255)
NAMES = ["Größe", "вход", "Ωμέγα", "Ağrı", "大门 入口", "😀 door", "☎", "مدخل 12", "כניסה", "Tür 大门 ☎ x"]


def canvas() -> BgrImage:
    return np.full((80, 640, 3), GREY, np.uint8)


def drawn(written: str, **options: int) -> BgrImage:
    bgr = canvas()
    draw_text(bgr, written, (40, 50), HEIGHT_PX, WHITE, **options)
    return bgr


def columns(is_ink: np.ndarray) -> tuple[int, int]:
    found = np.flatnonzero(is_ink.any(axis=0))
    return int(found[0]), int(found[-1])


@pytest.fixture
def forget() -> Iterator[None]:
    """Clear the caches of text and fonts before and after a test."""
    cached = (text._render, text._halo, text._font_of, text._opencv_has, fonts.font_with, fonts._has)
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


def test_ascii_is_written_by_opencv() -> None:
    expected = canvas()
    cv2.putText(expected, "mask 98%", (40, 50), cv2.FONT_HERSHEY_SIMPLEX, 1.0, WHITE, 1, cv2.LINE_AA)
    assert np.array_equal(drawn("mask 98%"), expected)
    assert text_width("mask 98%", HEIGHT_PX) == cv2.getTextSize("mask 98%", cv2.FONT_HERSHEY_SIMPLEX, 1.0, 1)[0][0]


@pytest.mark.parametrize("name", NAMES)
def test_every_letter_is_drawn_as_itself(name: str) -> None:
    assert text._writable(name) == name
    unknown = {alpha.tobytes() for alpha in (text_alpha("?", HEIGHT_PX), text_alpha(fonts._NO_CHARACTER, HEIGHT_PX))}
    shapes = [text_alpha(character, HEIGHT_PX).tobytes() for character in dict.fromkeys(name.replace(" ", ""))]
    assert len(set(shapes)) == len(shapes)
    assert not set(shapes) & unknown


@pytest.mark.parametrize("name", [*NAMES, "door 1"])
@pytest.mark.parametrize("halo_px", [0, 2])
def test_text_is_between_its_origin_and_its_width(name: str, halo_px: int) -> None:
    left, right = columns((drawn(name, halo_px=halo_px) != GREY).any(axis=2))
    assert left == pytest.approx(40, abs=4 + halo_px)
    assert right == pytest.approx(40 + text_width(name, HEIGHT_PX), abs=8 + halo_px)


@pytest.mark.parametrize("name", ["door 1 with a long name", "Größe", "大门"])
def test_a_halo_surrounds_the_characters(name: str) -> None:
    bgr = drawn(name, halo_px=2)
    ink, halo = columns(bgr[..., 0] > 200), columns(bgr[..., 0] < 50)
    assert 0 < ink[0] - halo[0] <= 3
    assert 0 < halo[1] - ink[1] <= 3


def test_decomposed_letters_keep_their_dots() -> None:
    assert np.array_equal(drawn("u\u0308ber"), drawn("über"))
    assert not np.array_equal(drawn("über"), drawn("uber"))


def test_arabic_is_joined_and_ordered_from_the_right() -> None:
    word, letters = "باب", ["ب", "ا", "ب"]
    joined = text_width(word, HEIGHT_PX)
    assert joined < sum(text_width(letter, HEIGHT_PX) for letter in letters)
    alpha = text_alpha("ب ا", HEIGHT_PX)  # the second letter, a stroke, stands on the left
    first, last = columns(alpha > 128)
    assert (alpha[:, first : first + 3] > 128).sum() > (alpha[:, last - 2 : last + 1] > 128).sum()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("🚪 2", "[door] 2"),
        ("😀", "[grinning face]"),
        ("大门", "U+5927U+95E8"),
        ("हि", "U+0939U+093F"),
        ("👩🏽\u200d⚕\ufe0f", "[woman][staff of aesculapius]"),
        ("Größe", "GrU+00F6U+00DFe"),
    ],
)
@pytest.mark.usefixtures("forget")
def test_a_character_that_no_font_has_is_replaced_by_its_name_or_code(
    monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    monkeypatch.setattr(text, "font_with", lambda character: None)
    monkeypatch.setattr(cv2, "__version__", "4.12.0")
    assert text._writable(name) == words
    assert np.array_equal(drawn(name, halo_px=1), drawn(words, halo_px=1))


@pytest.mark.usefixtures("forget")
def test_before_opencv_5_the_font_of_matplotlib_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "__version__", "4.12.0")
    monkeypatch.setattr(fonts, "_system_fonts", tuple)
    assert text._writable("Größe вход 😀 大") == "Größe вход 😀 U+5927"
    assert (fonts.font_with("ö") or "").endswith("DejaVuSans.ttf")
    assert [written for _, written in text._runs("Größe 1")] == ["Größe 1"]  # in one design


@pytest.mark.usefixtures("forget")
def test_fonts_of_the_system_are_tried_after_the_font_of_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    shipped = fonts._shipped_fonts()
    assert fonts._files_below(fonts.Path(str(tmp_path))) == []
    monkeypatch.setattr(fonts, "_shipped_fonts", tuple)
    monkeypatch.setattr(fonts, "_system_fonts", lambda: ("/no/such/font.ttf", *shipped))
    assert fonts.font_with("ö") == shipped[0]
    assert fonts.font_with(fonts._NO_CHARACTER) is None


@pytest.mark.parametrize(
    "name", ["", " ", "two\nlines\x00", "not \udcff text", "x" * 5000, "大" * 5000, "\u200b\ufe0f", "\u0301"]
)
@pytest.mark.parametrize("origin", [(40, 50), (-50, 5), (630, 90), (5000, -5000)])
def test_strange_text_anywhere_is_no_error(name: str, origin: tuple[int, int]) -> None:
    bgr = canvas()
    draw_text(bgr, name, origin, 9.3, WHITE, halo_px=1)
    draw_text(bgr, name, origin, 0.5, WHITE)
    assert text_width(name, 9.3) >= 0
    assert bgr.shape == (80, 640, 3)


def test_the_same_text_is_rendered_once() -> None:
    before = text._render.cache_info().misses
    for _ in range(3):
        drawn("大门 of this test", halo_px=2)
    assert text._render.cache_info().misses == before + 1


def test_pillow_and_matplotlib_are_not_imported_before_they_are_needed() -> None:
    code = "import sys; import maskstream.rendering.text; print({'PIL', 'matplotlib', 'PIL.ImageFont'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout == "set()\n"


@examples(0.5)
@given(
    name=st.text(st.characters(exclude_categories=[]), max_size=12),
    x=st.integers(-60, 700),
    y=st.integers(-30, 110),
    height_px=st.sampled_from([0.3, 1.0, 7.2, 22.5]),
    halo_px=st.sampled_from([0, 1, 4]),
)
def test_any_text_is_drawn_without_an_error(name: str, x: int, y: int, height_px: float, halo_px: int) -> None:
    bgr = canvas()
    draw_text(bgr, name, (x, y), height_px, WHITE, halo_px=halo_px)
    assert text_width(name, height_px) >= 0
    assert bgr.shape == (80, 640, 3)
