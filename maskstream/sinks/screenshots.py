"""Save the annotated frames that the user asks for."""

from datetime import datetime
from pathlib import Path

import cv2
from loguru import logger

from maskstream.io.file_names import plain_name
from maskstream.types import BgrImage


def save_snapshot(bgr: BgrImage, folder: Path, source_id: str, taken: datetime) -> None:
    """Save a frame as `maskstream-NAME-20260102-030405.png`, and log its path, or the reason if it cannot be saved.

    Args:
        bgr: (H, W, 3) uint8 BGR.
        folder: Created if it does not exist.
        source_id: Becomes NAME, without characters that a file name must not contain.
        taken: Local time. A second frame of the same second gets `_2` at the end of its name. No file is replaced.
    """
    name = plain_name(source_id)
    png = cv2.imencode(".png", bgr)[1].tobytes()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = _write_new(folder, f"maskstream-{name}-{taken:%Y%m%d-%H%M%S}", png)
    except OSError as error:
        logger.error("{}: the frame cannot be saved: {}; set window.snapshots to another folder", folder, error.strerror)
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
