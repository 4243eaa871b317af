"""Training of a classifier of aligned face crops: its crops, its losses, its validation, its checkpoint."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy

from maskstream.errors import ConfigError, SourceError, SourceOpenError
from maskstream.evaluation.curves import expected_calibration_error
from maskstream.io.files import one_line
from maskstream.io.images import natural_order, read_image
from maskstream.models import CROP_ARCHITECTURES
from maskstream.models.checkpoint import StateDict, load_into, save_checkpoint
from maskstream.models.crop_classifier import crops_to_tensor
from maskstream.models.graph_classifier import CHUNK
from maskstream.models.metadata import Metadata
from maskstream.training.calibration import fit_temperature
from maskstream.training.crops import DESCRIPTION, middle, stored_size
from maskstream.training.occluders import occlude
from maskstream.training.photometric import downscaled, photometric
from maskstream.training.recipe import ClassifierRecipe
from maskstream.types import BACKGROUND, BgrImage, Label

_IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_SMALLEST_PX: Final = 10.0
"""Side of a face that the strongest downscaling leaves, the smallest that is judged."""
_FACE_SHARE: Final = 0.8
"""Of a face's width in its crop, about."""
_OCCLUDED_MASKS: Final = 0.5
"""What hides a bare mouth is not laid over masks: so that glasses and hats do not come to mean a mask."""

Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, eq=False)
class CropSet:
    """N labelled crops."""

    pixels_bgr: BgrImage
    """(N, S, S, 3) uint8 with their margin."""
    labels: NDArray[np.int64]
    """(N,) index in the recipe's classes."""
    sha256: str
    unreadable: tuple[str, ...]


def read_crops(folder: Path, recipe: ClassifierRecipe) -> CropSet:
    """Read `folder`/CLASS/*.png as `make_crops` writes them; the recipe says what each class counts as.

    Raises:
        SourceOpenError: There are no crops, or they have no description or another size.
    """
    try:
        description = json.loads((folder / DESCRIPTION).read_text())
        size = int(description["size_px"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise SourceOpenError(
            f"{one_line(str(folder))}: no readable {DESCRIPTION}; make the crops with tools/make_crops.py"
        ) from error
    if size != recipe.size_px:
        raise SourceOpenError(f"{one_line(str(folder))}: crops for {size} px, the recipe says {recipe.size_px}; make them anew")
    digest, crops, labels, unreadable = sha256(), [], [], []
    folders = {name: counts_as for name, counts_as in recipe.folders.items() if counts_as}
    for name, counts_as in folders.items():
        for path in map(Path, natural_order(map(str, (folder / name).glob("*.png")))):
            try:
                crop = read_image(str(path))
            except SourceError as error:
                unreadable.append(f"{one_line(str(path))}: {error}")
                continue
            if crop.shape != (stored_size(size),) * 2 + (3,):
                unreadable.append(
                    f"{one_line(str(path))}: {crop.shape[1]}x{crop.shape[0]}, expected {stored_size(size)} px squares"
                )
                continue
            digest.update(f"{name}/{path.name}".encode() + crop.tobytes())
            crops.append(crop)
            labels.append(recipe.classes.index(counts_as))
    if not crops:
        raise SourceOpenError(f"{one_line(str(folder))}: no crops in {', '.join(folders)}; make them with tools/make_crops.py")
    return CropSet(np.stack(crops), np.array(labels), digest.hexdigest(), tuple(unreadable))


def require_both_answers(crops: CropSet, recipe: ClassifierRecipe) -> None:
    """Raise `SourceOpenError` where crops to judge by are all with a mask, or all without."""
    is_mask = crops.labels[_faces(crops.labels, recipe.classes)[0]] == recipe.classes.index(Label.MASK.value)
    if is_mask.all() or not is_mask.any():
        raise SourceOpenError("the crops to judge by are all of one answer; give some with a mask and some without")


class ClassifierTask:
    """Everything about the classifier that the training loop does not know."""

    best_by = "log_likelihood"

    def __init__(
        self,
        recipe: ClassifierRecipe,
        train: CropSet,
        val: CropSet,
        backbone_weights: str | None,
        teacher: nn.Module | None = None,
    ) -> None:
        """Build the module for training.

        Args:
            recipe: See there.
            train: Crops to learn from.
            val: Crops to choose by.
            backbone_weights: See `imagenet_weights`.
            teacher: A trained network with the same classes, whose answers are learnt from beside the labels.

        Raises:
            ConfigError: The architecture is not known, or a class has no crops.
            SourceOpenError: All validation crops have the same answer.
            ModelError: The backbone's weights cannot be had.
        """
        self.recipe = recipe
        self._train, self._val = train, val
        self.val_items = list(range(len(val.labels)))
        self._metadata = Metadata(
            architecture=recipe.architecture,
            input_size=recipe.size_px,
            mean=_IMAGENET[0],
            std=_IMAGENET[1],
            class_names=tuple(recipe.classes),
            training_command="",
            data_manifest_sha256=train.sha256,
            figures={},
            licence="see MODEL_CARD.md",
        )
        if recipe.architecture not in CROP_ARCHITECTURES:
            raise ConfigError(
                f"architecture: {recipe.architecture!r} cannot be trained; allowed: {', '.join(CROP_ARCHITECTURES)}"
            )
        self.module = CROP_ARCHITECTURES[recipe.architecture].build_for_training(self._metadata, backbone_weights)
        self._teacher = teacher
        self._by_class = [np.flatnonzero(train.labels == index) for index in range(len(recipe.classes))]
        shares = np.array([recipe.class_shares.get(name, 1.0) for name in recipe.classes])
        self._shares = shares / shares.sum()
        require_both_answers(val, recipe)
        for name, members, share in zip(recipe.classes, self._by_class, self._shares, strict=True):
            if share > 0 and not len(members):
                raise ConfigError(f"no crops of the class {name}; leave it out of `classes` and `folders`")

    def load(self, state_dict: StateDict, origin: str) -> None:
        """Start from the tensors of a checkpoint of ours; `WeightsError` where they do not fit."""
        load_into(self.module.network, state_dict, origin)

    def to_device(self, device: torch.device) -> None:
        """Move the module, on CUDA with channels last."""
        self.module.to(device)
        if device.type == "cuda":
            self.module.to(memory_format=torch.channels_last)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return all parameters; norms and biases do not decay."""
        parameters = list(self.module.parameters())
        return [
            {
                "params": [each for each in parameters if each.ndim > 1],
                "lr_factor": 1.0,
                "weight_decay": self.recipe.weight_decay,
            },
            {"params": [each for each in parameters if each.ndim <= 1], "lr_factor": 1.0, "weight_decay": 0.0},
        ]

    def sample(self, number: int) -> tuple[BgrImage, int]:
        """Return the changed crop of a number and its class."""
        rng = np.random.default_rng((self.recipe.seed, 2, number))
        label = int(rng.choice(len(self._shares), p=self._shares))
        stored = self._train.pixels_bgr[rng.choice(self._by_class[label])]
        return change_crop(stored, self.recipe.classes[label], self.recipe, rng), label

    def collate(self, samples: Sequence[tuple[BgrImage, int]]) -> Batch:
        """Return crops (N, 3, S, S) RGB in [0, 1] and classes (N,)."""
        crops = crops_to_tensor([crop for crop, _ in samples], torch.device("cpu"))
        return crops, torch.tensor([label for _, label in samples])

    def losses(self, module: nn.Module, batch: Batch, device: torch.device) -> dict[str, torch.Tensor]:
        """Return the cross entropy of a batch, with a teacher the one of its answers too.

        Hinton et al., "Distilling the Knowledge in a Neural Network" (2015).
        """
        crops, labels = (tensor.to(device) for tensor in batch)
        logits = module(crops)
        hard = cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        if self._teacher is None:
            return {"cross_entropy": hard}
        share, temperature = self.recipe.teacher_share, self.recipe.teacher_temperature
        with torch.no_grad():
            answers = (self._teacher.to(device).eval()(crops) / temperature).softmax(1)
        soft = cross_entropy(logits / temperature, answers) * temperature**2
        return {"cross_entropy": (1 - share) * hard, "distillation": share * soft}

    @torch.inference_mode()
    def predict(self, module: nn.Module, items: Sequence[int], device: torch.device) -> list[tuple[int, list[float]]]:
        """Return the logits of validation crops, cut as the stream cuts them."""
        predicted = []
        for start in range(0, len(items), CHUNK):
            chunk = items[start : start + CHUNK]
            crops = [middle(self._val.pixels_bgr[item], self.recipe.size_px) for item in chunk]
            predicted += list(zip(chunk, module(crops_to_tensor(crops, device)).tolist(), strict=True))
        return predicted

    def validate(self, predicted: Sequence[Any]) -> dict[str, float]:
        """Return figures for the question mask or not, at the temperature that fits best, and the accuracy over all classes.

        Answers that are not finite cannot be judged: then it is `best_by` alone, and not a number.
        """
        items, answers = zip(*predicted, strict=True)
        logits = torch.tensor(answers)
        if not torch.isfinite(logits).all():
            return {self.best_by: math.nan}
        return classification_figures(logits, self._val.labels[list(items)], self.recipe.classes)

    def save(self, path: Path, module: nn.Module, predicted: Sequence[Any], figures: dict[str, float], command: str) -> None:
        """Write a checkpoint with its temperature."""
        network: Any = module.network
        changed = {"training_command": command, "figures": figures, "temperature": figures["temperature"]}
        save_checkpoint(path, network.state_dict(), self._metadata.model_copy(update=changed))


def classification_figures(logits: torch.Tensor, labels: NDArray[np.int64], classes: Sequence[str]) -> dict[str, float]:
    """Return how well crops are judged.

    Args:
        logits: (N, C) float.
        labels: (N,) index in `classes`.
        classes: C names, `mask` among them, `background` only as the last.

    Returns:
        Of the faces: `log_likelihood` of the right answer to mask or not, `accuracy`, `mask_recall`, `no_mask_recall`,
        `calibration_error` (15 bins), `temperature`, `class_accuracy`. Where background is a class: `face_recall`, and
        `background_recall` where there is some.
    """
    mask = classes.index(Label.MASK.value)
    is_face, count = _faces(labels, classes)
    face_logits = logits[torch.from_numpy(is_face)][:, :count]
    temperature = fit_temperature(face_logits, torch.from_numpy(labels[is_face] == mask), mask)
    probabilities = (logits.double() / temperature).softmax(1).numpy()
    return {**judged_figures(probabilities, labels, classes), "temperature": temperature}


def judged_figures(probabilities: NDArray[Any], labels: NDArray[np.int64], classes: Sequence[str]) -> dict[str, float]:
    """Return how well crops were judged, of class probabilities (N, C) and classes (N,)."""
    is_face, count = _faces(labels, classes)
    told_apart = {}
    if count < len(classes):
        taken_for_face = probabilities[:, -1] <= 0.5
        told_apart["face_recall"] = float(taken_for_face[is_face].mean())
        if not is_face.all():
            told_apart["background_recall"] = float(1 - taken_for_face[~is_face].mean())
    probabilities, labels = probabilities[is_face, :count], labels[is_face]
    probabilities = probabilities / probabilities.sum(1, keepdims=True)
    mask = classes.index(Label.MASK.value)
    is_mask, probability = labels == mask, np.clip(probabilities[:, mask], 1e-7, 1 - 1e-7)
    right = (probability > 0.5) == is_mask
    return {
        "log_likelihood": float(np.log(np.where(is_mask, probability, 1 - probability)).mean()),
        "accuracy": float(right.mean()),
        "mask_recall": float(right[is_mask].mean()),
        "no_mask_recall": float(right[~is_mask].mean()),
        "calibration_error": expected_calibration_error(np.maximum(probability, 1 - probability), right),
        "class_accuracy": float((probabilities.argmax(1) == labels).mean()),
        **told_apart,
    }


def _faces(labels: NDArray[np.int64], classes: Sequence[str]) -> tuple[NDArray[np.bool_], int]:
    """Return which crops show a face (N,), and how many of the classes are of faces: the first ones."""
    count = len(classes) - (BACKGROUND in classes)
    return labels < count, count


def change_crop(stored_bgr: BgrImage, class_name: str, recipe: ClassifierRecipe, rng: np.random.Generator) -> BgrImage:
    """Return the middle of a stored crop as another camera and a detector's error might have given it.

    Args:
        stored_bgr: With its margin; not modified.
        class_name: Decides what may be laid over it.
        recipe: How strong.
        rng: Decides everything.
    """
    crop = _jittered(stored_bgr, recipe, rng)
    if rng.random() < recipe.occluded_share * (1.0 if class_name == Label.NO_MASK else _OCCLUDED_MASKS):
        crop = occlude(crop, Label.MASK if class_name == BACKGROUND else Label(class_name), rng)
    if rng.random() < recipe.small_share:
        face_px = np.exp(rng.uniform(np.log(_SMALLEST_PX), np.log(recipe.size_px * _FACE_SHARE)))
        crop = downscaled(crop, float(face_px / (recipe.size_px * _FACE_SHARE)))
    return photometric(crop, rng, recipe.photometric)


def _jittered(stored_bgr: BgrImage, recipe: ClassifierRecipe, rng: np.random.Generator) -> BgrImage:
    """Return the middle, mirrored by half, turned, scaled and moved as far as a detector's keypoints are wrong."""
    size, whole = recipe.size_px, stored_bgr.shape[0]
    angle, scale = rng.normal(0, recipe.jitter_turn_deg), np.exp(rng.normal(0, recipe.jitter_scale))
    matrix = cv2.getRotationMatrix2D(((whole - 1) / 2, (whole - 1) / 2), float(angle), float(scale))
    matrix[:, 2] += (size - whole) / 2 + rng.normal(0, recipe.jitter_shift, 2) * size
    crop = cv2.warpAffine(stored_bgr, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)
