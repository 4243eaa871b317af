"""Small pictures for tests."""

from pathlib import Path

from maskstream.io.images import write_image
from tests.video_files import grey


def make(*names: str) -> None:
    """Write a picture under each name, with its number as grey level."""
    for index, name in enumerate(names):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        write_image(Path(name), grey(index))
