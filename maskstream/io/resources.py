"""Find the files that come with the program: configs/ and weights/, in a checkout or in the installed package."""

import os
from pathlib import Path
from typing import Final

FOLDERS: Final = ("configs", "weights")
_PACKAGE: Final = Path(__file__).resolve().parents[1]


def resource(path: str) -> Path:
    """Return the path of a shipped file or folder, such as `configs/default.yaml`.

    An installed package contains these folders; in a checkout they are beside the package. The folders in the package come first,
    because another package may install a folder `configs` beside it.
    """
    own = _PACKAGE / path
    return own if own.exists() else _PACKAGE.parent / path


def own_or_shipped(path: str) -> Path:
    """Return the given path, or the shipped file of this name where the given path does not exist.

    `configs/coco.yaml` and `weights/mask_resnet18.safetensors` therefore work in every folder.
    """
    own = Path(path)
    if own.parts[:1] not in {(folder,) for folder in FOLDERS} or os.path.exists(own):  # noqa: PTH110 (Path raises without permission)
        return own
    shipped = resource(path)
    return shipped if shipped.exists() else own
