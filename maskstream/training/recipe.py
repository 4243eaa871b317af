"""The settings of a training. `configs/train_detector.yaml` and `configs/train_classifier.yaml` explain each key."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from maskstream.config.schema import Count, Probability, Section
from maskstream.types import BACKGROUND

CropClass = Literal["mask", "no_mask", "incorrect", "background"]
Positive = Annotated[float, Field(gt=0)]
Range = Annotated[list[Positive], Field(min_length=2, max_length=2)]
NotNegative = Annotated[float, Field(ge=0)]


class Recipe(Section):
    """Settings of every training."""

    architecture: str
    epochs: Count
    samples_per_epoch: Count
    batch_size: Count
    learning_rate: Positive
    warmup_steps: Annotated[int, Field(ge=0)]
    weight_decay: NotNegative
    clip_norm: Positive
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    seed: Annotated[int, Field(ge=0)]
    workers: Annotated[int, Field(ge=0)] | None
    save_every_s: Positive
    photometric: Probability


class DetectorRecipe(Recipe):
    """Settings of a detector training."""

    frozen_blocks: Annotated[int, Field(ge=0)]
    backbone_lr_factor: Positive
    window_px: Annotated[list[Annotated[int, Field(ge=64)]], Field(min_length=1)]
    mosaic_share: Probability
    zoom: Range
    zoom_without_faces: Range
    by_face_share: Probability
    turn_deg: NotNegative
    large_turn_share: Probability
    hidden_share: Probability
    picture_weights: dict[str, NotNegative]
    without_keypoints_weight: NotNegative
    loss_weights: dict[str, NotNegative]
    proposals_before_nms: Count
    proposals: Count
    rpn_samples: Count
    box_samples: Count


class ClassifierRecipe(Recipe):
    """Settings of a classifier training."""

    size_px: Annotated[int, Field(ge=32)]
    classes: Annotated[list[CropClass], Field(min_length=2)]
    folders: dict[str, CropClass | None]
    class_shares: dict[str, NotNegative]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    teacher_share: Probability
    teacher_temperature: Positive
    jitter_turn_deg: NotNegative
    jitter_scale: NotNegative
    jitter_shift: NotNegative
    occluded_share: Probability
    small_share: Probability

    @field_validator("classes")
    @classmethod
    def _has_mask(cls, classes: list[str]) -> list[str]:
        if "mask" not in classes or len(set(classes)) < len(classes):
            raise ValueError("mask must be one of the classes, and no class may be named twice")
        if BACKGROUND in classes[:-1]:
            raise ValueError(f"{BACKGROUND} must be the last class")
        return classes

    @field_validator("folders")
    @classmethod
    def _counts_as_a_class(cls, folders: dict[str, str | None], info: ValidationInfo) -> dict[str, str | None]:
        classes = info.data.get("classes", folders.values())
        unknown = sorted({name for name in folders.values() if name} - set(classes))
        if unknown:
            raise ValueError(f"{unknown[0]} is not one of `classes`")
        return folders
