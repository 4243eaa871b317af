"""Files that come with the program: configs/ and weights/, of the checkout or inside the installed package."""

import os
from pathlib import Path
from typing import Final

FOLDERS: Final = ("configs", "weights")
_PACKAGE: Final = Path(__file__).resolve().parents[1]


def resource(path: str) -> Path:
    """Return where a shipped file or folder lies, such as `configs/default.yaml`.

    An installed package holds these folders itself; in a checkout they are beside it. The package's own come first: any other
    package may put a folder `configs` beside it.
    """
    own = _PACKAGE / path
    return own if own.exists() else _PACKAGE.parent / path


def own_or_shipped(path: str) -> Path:
    """Return the path that a user gave, or the shipped file of that name where the user has none.

    So `configs/coco.yaml` and `weights/mask_resnet18.safetensors` mean the same in every folder.
    """
    own = Path(path)
    if own.parts[:1] not in {(folder,) for folder in FOLDERS} or os.path.exists(own):  # noqa: PTH110 (Path raises where none may look)
        return own
    shipped = resource(path)
    return shipped if shipped.exists() else own
