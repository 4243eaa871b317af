"""Read the crops that a classifier is trained and validated on."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskstream.errors import SourceError, SourceOpenError
from maskstream.io.file_names import natural_order
from maskstream.io.files import one_line
from maskstream.io.images import read_image
from maskstream.training.crops import DESCRIPTION, stored_size
from maskstream.training.recipe import ClassifierRecipe
from maskstream.types import BACKGROUND, BgrImage, Label


@dataclass(frozen=True, eq=False)
class CropSet:
    """N labelled crops."""

    pixels_bgr: BgrImage
    """(N, S, S, 3) uint8 with their margin."""
    labels: NDArray[np.int64]
    """(N,) index in the recipe's classes."""
    sha256: str
    unreadable: tuple[str, ...]
    """One line for each file that was left out."""


def read_crops(folder: Path, recipe: ClassifierRecipe) -> CropSet:
    """Read `folder`/CLASS/*.png as `make_crops` writes them. `folders` of the recipe maps folder names to classes.

    Raises:
        SourceOpenError: The folder has no crops or no description, or the crops have another size.
    """
    size_px = _described_size(folder)
    if size_px != recipe.size_px:
        raise SourceOpenError(
            f"{one_line(str(folder))}: crops for {size_px} px, but size_px of the recipe is {recipe.size_px}; make them again"
        )
    digest, crops, labels, unreadable = sha256(), [], [], []
    side_px = stored_size(size_px)
    classes = {name: class_name for name, class_name in recipe.folders.items() if class_name}
    for name, class_name in classes.items():
        for path in natural_order(map(str, (folder / name).glob("*.png"))):
            try:
                crop = read_image(path)
                if crop.shape != (side_px, side_px, 3):
                    raise SourceError(f"{crop.shape[1]}x{crop.shape[0]}, expected {side_px} px squares")
            except SourceError as error:
                unreadable.append(f"{one_line(path)}: {error}")
                continue
            digest.update(f"{name}/{Path(path).name}".encode() + crop.tobytes())
            crops.append(crop)
            labels.append(recipe.classes.index(class_name))
    if not crops:
        raise SourceOpenError(f"{one_line(str(folder))}: no crops in {', '.join(classes)}; make them with tools/make_crops.py")
    return CropSet(np.stack(crops), np.array(labels), digest.hexdigest(), tuple(unreadable))


def _described_size(folder: Path) -> int:
    try:
        return int(json.loads((folder / DESCRIPTION).read_text())["size_px"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise SourceOpenError(
            f"{one_line(str(folder))}: no readable {DESCRIPTION}; make the crops with tools/make_crops.py"
        ) from error


def face_crops(labels: NDArray[np.int64], classes: Sequence[str]) -> tuple[NDArray[np.bool_], int]:
    """Return which crops show a face (N,), and the number of classes of faces, which come before the background."""
    count = len(classes) - (BACKGROUND in classes)
    return labels < count, count


def require_both_answers(crops: CropSet, recipe: ClassifierRecipe) -> None:
    """Raise `SourceOpenError` where the validation crops of faces are all with a mask, or all without."""
    is_face, _ = face_crops(crops.labels, recipe.classes)
    is_mask = crops.labels[is_face] == recipe.classes.index(Label.MASK.value)
    if is_mask.all() or not is_mask.any():
        raise SourceOpenError("all validation crops have the same answer; give some with a mask and some without")
