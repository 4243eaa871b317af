"""All rows, by section, in the order of the table."""

from tests.inputs import containers, pixels
from tests.inputs.table import Row

SECTIONS: dict[str, list[Row]] = {
    "Containers and codecs": containers.CONTAINERS,
    "Formats of pixels": containers.PIXEL_FORMATS,
    "Times and structure": containers.STRUCTURES,
    "Names of files": containers.NAMES,
    "Clocks": containers.CLOCKS,
    "What becomes of the pixels": pixels.PIXELS,
}
