"""List the image formats that are read and written, by the suffixes of files."""

from typing import Any, Final

from PIL import features

_HAS_AVIF: Final = "avif" in features.modules and features.check("avif")
# GIF is not here: most GIFs are animated and are read as video.
FORMATS: Final = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    ".png": "PNG",
    ".webp": "WEBP",
    **({".avif": "AVIF"} if _HAS_AVIF else {}),
    ".bmp": "BMP",
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"), "JPEG2000"),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm"), "PPM"),
}
"""The name of the format in Pillow, by suffix."""
HEIF_SUFFIXES: Final = (".heic", ".heif")
WRITABLE_SUFFIXES: Final = tuple(FORMATS)
"""Suffixes of the images that are read and written."""
IMAGE_SUFFIXES: Final = WRITABLE_SUFFIXES + HEIF_SUFFIXES
"""Suffixes of all images. HEIC of phones is among them: it is not read, and the message says what to do."""

SAVE_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "PNG": {"compress_level": 1},
    "WEBP": {"quality": 95, "method": 2},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
    "TIFF": {"compression": "tiff_lzw"},
}
"""Options of Pillow by format: lossless or nearly lossless, and fast rather than small."""
