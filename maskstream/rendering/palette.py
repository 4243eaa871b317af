"""Colour and text of each label. The colours are those of Okabe and Ito ("Color Universal Design", 2008), BGR."""

from typing import Final

from maskstream.types import Label

COLOURS_BGR: Final[dict[Label, tuple[int, int, int]]] = {
    Label.MASK: (233, 180, 86),  # sky blue
    Label.NO_MASK: (0, 94, 213),  # vermilion
    Label.INCORRECT: (66, 228, 240),  # yellow
    Label.UNKNOWN: (190, 190, 190),
}
LABEL_TEXT: Final = {Label.MASK: "mask", Label.NO_MASK: "no mask", Label.INCORRECT: "incorrect", Label.UNKNOWN: "unknown"}
