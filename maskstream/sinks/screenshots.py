"""Pictures that the user asked to keep."""

from datetime import datetime
from pathlib import Path

import cv2
from loguru import logger

from maskstream.io.file_names import plain_name
from maskstream.types import BgrImage


def save_snapshot(bgr: BgrImage, folder: Path, source_id: str, taken: datetime) -> None:
    """Save a picture as `maskstream-NAME-20260102-030405.png` and log where it lies, or why it could not be saved.

    Args:
        bgr: (H, W, 3) uint8 BGR.
        folder: Made if it is missing.
        source_id: Becomes NAME, without what a file name cannot hold.
        taken: Local time. A second picture of the same second has `_2` at its end: no file is replaced.
    """
    name = plain_name(source_id)
    png = cv2.imencode(".png", bgr)[1].tobytes()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = _write_new(folder, f"maskstream-{name}-{taken:%Y%m%d-%H%M%S}", png)
    except OSError as error:
        logger.error("{}: the picture cannot be saved: {}; set window.snapshots to another folder", folder, error.strerror)
    else:
        logger.info("saved {}", path)


def _write_new(folder: Path, stem: str, content: bytes) -> Path:
    path, number = folder / f"{stem}.png", 1
    while True:
        try:
            with path.open("xb") as file:
                file.write(content)
        except FileExistsError:
            number += 1
            path = folder / f"{stem}_{number}.png"
        else:
            return path
