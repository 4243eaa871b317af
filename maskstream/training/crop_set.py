"""Read the crops that a classifier is trained and validated on."""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskstream.errors import SourceError, SourceOpenError
from maskstream.io.file_names import natural_order
from maskstream.io.files import one_line
from maskstream.io.images import read_image
from maskstream.training.crops import DESCRIPTION, UNLABELLED, stored_size
from maskstream.training.recipe import ClassifierRecipe
from maskstream.types import BACKGROUND, BgrImage, Label

NO_CLASS: Final = -1
"""The label of an unlabelled crop."""


@dataclass(frozen=True, eq=False)
class CropSet:
    """N crops."""

    pixels_bgr: BgrImage
    """(N, S, S, 3) uint8 with their margin."""
    labels: NDArray[np.int64]
    """(N,) index in the recipe's classes, or `NO_CLASS`."""
    paths: tuple[Path, ...]
    """The N files: DATA/train/FOLDER/NAME."""
    sha256: str
    unreadable: tuple[str, ...]
    """One line for each file that was left out."""

    def picked(self, indices: NDArray[np.int64]) -> "CropSet":
        """Return the crops with these indices."""
        paths = tuple(self.paths[index] for index in indices)
        return CropSet(self.pixels_bgr[indices], self.labels[indices], paths, self.sha256, self.unreadable)


def read_crops(folders: Sequence[Path], recipe: ClassifierRecipe, *, unlabelled: bool = False) -> CropSet:
    """Read FOLDER/CLASS/*.png of each folder as `make_crops` writes them. `folders` of the recipe maps names to classes.

    Args:
        folders: DATA/train or DATA/val of one or more sets of crops.
        recipe: The settings of the training.
        unlabelled: Also read FOLDER/unlabelled/*.png.

    Raises:
        SourceOpenError: A folder has no crops or no description, or the crops have another size.
    """
    labels_by_folder = {name: recipe.classes.index(class_name) for name, class_name in recipe.folders.items() if class_name}
    if unlabelled:
        labels_by_folder[UNLABELLED] = NO_CLASS
    paths: list[Path] = []
    labels: list[int] = []
    for folder in folders:
        _require_size(folder, recipe)
        before = len(paths)
        for name, label in labels_by_folder.items():
            found = [Path(path) for path in natural_order(map(str, (folder / name).glob("*.png")))]
            paths += found
            labels += [label] * len(found)
        if len(paths) == before:
            names = ", ".join(labels_by_folder)
            raise SourceOpenError(f"{one_line(str(folder))}: no crops in {names}; make them with tools/make_crops.py")
    return _read_files(paths, np.array(labels), stored_size(recipe.size_px))


def _read_files(paths: Sequence[Path], labels: NDArray[np.int64], side_px: int) -> CropSet:
    """Return the crops of files; a file that cannot be read is left out."""
    pixels = np.empty((len(paths), side_px, side_px, 3), np.uint8)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow releases the interpreter lock while it decodes
        reasons = list(pool.map(_read_into, pixels, paths))
    unreadable = tuple(f"{one_line(str(path))}: {reason}" for path, reason in zip(paths, reasons, strict=True) if reason)
    if unreadable:
        readable = np.array([not reason for reason in reasons])
        pixels, labels = pixels[readable], labels[readable]
        paths = [path for path, reason in zip(paths, reasons, strict=True) if not reason]
    if not paths:
        raise SourceOpenError(f"{unreadable[0]}; no crop can be read, make them again with tools/make_crops.py")
    digest = sha256()
    for path, crop in zip(paths, pixels, strict=True):
        digest.update(f"{path.parent.name}/{path.name}".encode())
        digest.update(crop.data)
    return CropSet(pixels, labels, tuple(paths), digest.hexdigest(), unreadable)


def _read_into(pixels_bgr: BgrImage, path: Path) -> str:
    """Decode a crop into its place; return the reason where this is not possible."""
    try:
        crop = read_image(str(path))
    except SourceError as error:
        return str(error)
    if crop.shape != pixels_bgr.shape:
        return f"{crop.shape[1]}x{crop.shape[0]}, expected {len(pixels_bgr)} px squares"
    pixels_bgr[:] = crop
    return ""


def _require_size(folder: Path, recipe: ClassifierRecipe) -> None:
    try:
        size_px = int(json.loads((folder / DESCRIPTION).read_text())["size_px"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise SourceOpenError(
            f"{one_line(str(folder))}: no readable {DESCRIPTION}; make the crops with tools/make_crops.py"
        ) from error
    if size_px != recipe.size_px:
        raise SourceOpenError(
            f"{one_line(str(folder))}: crops for {size_px} px, but size_px of the recipe is {recipe.size_px}; make them again"
        )


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
