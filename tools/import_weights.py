#!/usr/bin/env python3
"""Turn plain PyTorch state dicts of our two models into our checkpoint format, calibrated and measured on validation pictures.

    python tools/import_weights.py --detector D.pt --classifier C.pt --images DIR --annotations VAL.json --out weights

Prints what the thresholds in configs/default.yaml are chosen by.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torchvision.ops import box_iou

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.align import AlignRules, align_face
from maskstream.annotations import LabelledFace, LabelledPicture, ReadOptions, read_annotations
from maskstream.config import load_config
from maskstream.errors import MaskStreamError
from maskstream.evaluation.curves import expected_calibration_error
from maskstream.models import face_mobilenet, mask_resnet18
from maskstream.models.checkpoint import Metadata, StateDict, load_into, save_checkpoint
from maskstream.models.keypoint_rcnn import to_rgb_tensor
from maskstream.pictures import read_picture
from maskstream.training.calibration import fit_logistic, fit_temperature
from maskstream.types import FACE_KEYPOINTS, BgrImage, FloatArray, Label

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
CLASSES = ("mask", "no_mask", "incorrect")
CROP_SIZE = 112
ALIGN_ALWAYS = AlignRules(min_face_px=1, min_keypoint_score=0)
POINT_IS_RIGHT_WITHIN = 0.1  # of the square root of the box's area
LICENCE = "see MODEL_CARD.md"


@dataclass(frozen=True, eq=False)
class Match:
    """One detection on a validation picture."""

    score: float
    face: LabelledFace | None
    """The labelled face it meets at IoU 0.5, or None."""
    keypoint_logits: FloatArray
    keypoint_errors: FloatArray | None
    """Distance to the labelled points over the square root of the face's area."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for option in ("--detector", "--classifier", "--images", "--annotations", "--out"):
        parser.add_argument(option, type=Path, required=True)
    arguments = parser.parse_args()
    try:
        options = ReadOptions(load_config().evaluation.labels, "coco")
        pictures = read_annotations(arguments.images, arguments.annotations, options).pictures
        common = {"training_command": "imported: see MODEL_CARD.md", "data_manifest_sha256": None, "licence": LICENCE, **IMAGENET}
        import_detector(arguments.detector, arguments.out, pictures, common)
        import_classifier(arguments.classifier, arguments.out, pictures, common)
    except MaskStreamError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def read_state_dict(path: Path) -> StateDict:
    state_dict: StateDict = torch.load(path, map_location="cpu", weights_only=True)
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state_dict.items()}


def import_detector(source: Path, out: Path, pictures: Sequence[LabelledPicture], common: dict[str, object]) -> None:
    state_dict = read_state_dict(source)
    module = face_mobilenet.build_module().eval()
    load_into(module, state_dict, str(source))
    module.roi_heads.score_thresh = 0.3
    labelled = 0
    matches: list[Match] = []
    for picture in track(pictures, "detector"):
        found, faces = match_picture(module, picture)
        matches += found
        labelled += faces
    with_points = [match for match in matches if match.keypoint_errors is not None]
    logits = torch.tensor(np.concatenate([match.keypoint_logits for match in with_points]))
    errors = torch.tensor(np.concatenate([match.keypoint_errors for match in with_points if match.keypoint_errors is not None]))
    calibration = fit_logistic(logits, errors < POINT_IS_RIGHT_WITHIN)
    figures = print_score_table(matches, labelled, len(pictures)) | {"keypoint_error": float(errors.mean())}
    right = float((errors < POINT_IS_RIGHT_WITHIN).float().mean())
    print(f"keypoints: calibration {calibration}, mean error {figures['keypoint_error']:.4f}, right {right:.4f}")
    metadata = Metadata(
        architecture=face_mobilenet.NAME,
        input_size=face_mobilenet.SHORT_SIDE,
        keypoint_names=FACE_KEYPOINTS,
        keypoint_calibration=calibration,
        figures=figures,
        **common,
    )
    save_checkpoint(out / f"{face_mobilenet.NAME}.safetensors", state_dict, metadata)


@torch.inference_mode()
def match_picture(module: torch.nn.Module, picture: LabelledPicture) -> tuple[list[Match], int]:
    """Return the detections of a picture, matched greedily by score, and how many faces there are to be found."""
    output = module([to_rgb_tensor(read_picture(str(picture.path)), torch.device("cpu"))])[0]
    truth = torch.tensor(np.array([face.box_xyxy for face in picture.faces]).reshape(-1, 4))
    overlaps = box_iou(output["boxes"], truth).numpy()
    matches = []
    for index, score in enumerate(output["scores"].tolist()):
        best = int(overlaps[index].argmax()) if truth.numel() else 0
        face = picture.faces[best] if truth.numel() and overlaps[index, best] >= 0.5 else None
        if face is not None:
            overlaps[:, best] = 0
        if face is None or not face.ignore:
            errors = keypoint_errors(output["keypoints"][index, :, :2].numpy(), face) if face else None
            matches.append(Match(score, face, output["keypoints_scores"][index].numpy(), errors))
    return matches, sum(not face.ignore for face in picture.faces)


def keypoint_errors(points: FloatArray, face: LabelledFace) -> FloatArray | None:
    if face.keypoints_xy is None:
        return None
    size = np.sqrt(np.prod(face.box_xyxy[2:] - face.box_xyxy[:2]))
    return np.asarray(np.linalg.norm(points - face.keypoints_xy, axis=1) / size, np.float32)


def print_score_table(matches: list[Match], labelled: int, pictures: int) -> dict[str, float]:
    figures = {}
    print("min_score  recall  precision  F1     false/picture")
    for threshold in (0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 0.9):
        kept = [match for match in matches if match.score >= threshold]
        right = sum(match.face is not None for match in kept)
        recall, precision = right / labelled, right / max(len(kept), 1)
        f1 = 2 * recall * precision / (recall + precision)
        print(f"{threshold:9.2f}  {recall:.3f}   {precision:.3f}      {f1:.3f}  {(len(kept) - right) / pictures:.3f}")
        figures |= {f"recall_at_{threshold}": recall, f"precision_at_{threshold}": precision}
    return figures


def import_classifier(source: Path, out: Path, pictures: Sequence[LabelledPicture], common: dict[str, object]) -> None:
    state_dict = read_state_dict(source)
    metadata = Metadata(architecture=mask_resnet18.NAME, input_size=CROP_SIZE, class_names=CLASSES, figures={}, **common)
    module = mask_resnet18.MaskResNet18(metadata)
    load_into(module.network, state_dict, str(source))
    crops, labels, widths = labelled_crops(track(pictures, "crops"))
    logits = classify(module.eval(), crops)
    is_mask = torch.tensor([label == "mask" for label in labels])
    temperature = fit_temperature(logits, is_mask, CLASSES.index("mask"))
    figures = classifier_figures(logits, is_mask, temperature)
    print(f"classifier: temperature {temperature:.3f}, {figures}")
    print_width_table((logits.softmax(1)[:, 0] > 0.5) == is_mask, torch.tensor(widths))
    saved = metadata.model_copy(update={"temperature": temperature, "figures": figures})
    save_checkpoint(out / f"{mask_resnet18.NAME}.safetensors", state_dict, saved)


def labelled_crops(pictures: Iterable[LabelledPicture]) -> tuple[list[BgrImage], list[str], list[float]]:
    """Return the aligned crop, label and width in pixels of every labelled face with keypoints."""
    crops, labels, widths = [], [], []
    for picture in pictures:
        frame = read_picture(str(picture.path))
        for face in picture.faces:
            if face.label is Label.UNKNOWN or face.ignore or face.keypoints_xy is None:
                continue
            aligned = align_face(frame, face.as_detection(), face.box_xyxy, CROP_SIZE, ALIGN_ALWAYS)
            if aligned is not None:
                crops.append(aligned.bgr)
                labels.append(face.label)
                widths.append(float(face.box_xyxy[2] - face.box_xyxy[0]))
    return crops, labels, widths


@torch.inference_mode()
def classify(module: torch.nn.Module, crops: list[BgrImage]) -> torch.Tensor:
    cpu = torch.device("cpu")
    return torch.cat([module(mask_resnet18.crops_to_tensor(crops[i : i + 64], cpu)) for i in range(0, len(crops), 64)])


def classifier_figures(logits: torch.Tensor, is_mask: torch.Tensor, temperature: float) -> dict[str, float]:
    figures = {}
    for name, divisor in (("uncalibrated", 1.0), ("calibrated", temperature)):
        probability = (logits / divisor).softmax(1)[:, 0]
        confidence, is_right = torch.maximum(probability, 1 - probability), (probability >= 0.5) == is_mask
        figures[f"mask_accuracy_{name}"] = float(is_right.float().mean())
        figures[f"calibration_error_{name}"] = expected_calibration_error(confidence.numpy(), is_right.numpy())
    return figures


def print_width_table(is_right: torch.Tensor, widths: torch.Tensor) -> None:
    print("face width  faces  mask / no mask right")
    for low, high in ((0, 8), (8, 10), (10, 12), (12, 16), (16, 24), (24, 32), (32, 64), (64, 1e6)):
        inside = (widths >= low) & (widths < high)
        if inside.any():
            print(f"{low:4.0f}-{high:7.0f}  {int(inside.sum()):5d}  {float(is_right[inside].float().mean()):.3f}")


if __name__ == "__main__":
    sys.exit(main())
