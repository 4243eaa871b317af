"""Define the settings of the trainings: names, types, ranges, defaults and descriptions.

`configs/train_detector.yaml` and `configs/train_classifier.yaml` are generated from here by `tools/make_docs.py`.
"""

import re
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationInfo, field_validator

from maskstream.config.values import Count, NotNegative, Positive, Probability, Section
from maskstream.types import BACKGROUND

CropClass = Literal["mask", "no_mask", "incorrect", "background"]
Range = Annotated[list[Positive], Field(min_length=2, max_length=2)]

_EPOCHS: Final = "Number of epochs."
_BATCH_SIZE: Final = "Samples per step, in total over all processes."
_WARMUP_STEPS: Final = "Steps of the linear warm-up of the learning rate."
_CLIP_NORM: Final = "Maximum length of the gradient."


class Recipe(Section):
    """Settings of every training."""

    architecture: str
    epochs: Count = Field(default=25, description=_EPOCHS)
    samples_per_epoch: Count = Field(default=8000, description="Crops per epoch.")
    max_minutes: Positive | None = Field(
        default=None,
        description="Training time after which a training ends before its last epoch; the learning rate falls by then. "
        "null: no limit. Validation is not counted.",
    )
    batch_size: Count = Field(default=64, description=_BATCH_SIZE)
    learning_rate: Positive = Field(
        default=0.001, description="The learning rate of AdamW after a linear warm-up. It falls along half a cosine."
    )
    warmup_steps: Annotated[int, Field(ge=0)] = Field(default=200, description=_WARMUP_STEPS)
    weight_decay: NotNegative = Field(default=0.05, description="The weight decay of AdamW.")
    clip_norm: Positive = Field(default=5.0, description=_CLIP_NORM)
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.998,
        description="Decay of the moving average of the weights, which is validated and saved. 0: the weights themselves.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="Number format of the forward pass. auto: float16 on CUDA, otherwise float32. bfloat16 needs a CPU or a GPU "
        "that computes in it, or it is slower.",
    )
    seed: Annotated[int, Field(ge=0)] = Field(default=1, description="Seed of all random numbers.")
    workers: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Processes that prepare samples. null: none on a CPU, 8 on a GPU."
    )
    save_every_s: Positive = Field(
        default=120.0, description="Seconds between two saves of the state that a stopped training resumes from."
    )
    photometric: Probability = Field(
        default=1.0,
        description="Factor for the probability of changes of light, colour, sharpness, noise and compression. 0: never.",
    )
    dark_share: Probability = Field(
        default=0.1, description="Fraction of samples that are darkened by gamma and exposure; half of them also get noise."
    )


class DetectorRecipe(Recipe):
    """Settings of a detector training."""

    architecture: str = Field(default="face_mobilenet", description="The detector: face_mobilenet.")
    epochs: Count = Field(default=8, description=_EPOCHS)
    samples_per_epoch: Count = Field(default=4800, description="Windows per epoch. A mosaic window shows four images.")
    batch_size: Count = Field(default=16, description=_BATCH_SIZE)
    warmup_steps: Annotated[int, Field(ge=0)] = Field(default=100, description=_WARMUP_STEPS)
    clip_norm: Positive = Field(default=10.0, description=_CLIP_NORM)

    frozen_blocks: Annotated[int, Field(ge=0)] = Field(
        default=4, description="Blocks of the backbone, from the image upwards, that keep their ImageNet weights."
    )
    backbone_lr_factor: Positive = Field(
        default=0.3, description="Learning rate of the backbone, as a fraction of learning_rate."
    )
    window_px: Annotated[list[Annotated[int, Field(ge=64)]], Field(min_length=1)] = Field(
        default=[256, 320, 384], description="Sides of windows in pixels. One of them is drawn for each batch."
    )
    mosaic_share: Probability = Field(default=0.5, description="Fraction of windows that show four images.")
    zoom: Range = Field(
        default=[0.5, 1.8], description="Smallest and largest scale of an image, relative to the scale of inference."
    )
    zoom_without_faces: Range = Field(
        default=[0.4, 4.0],
        description="Smallest and largest scale of an image without faces, relative to that of inference.",
    )
    by_face_share: Probability = Field(
        default=0.2, description="Fraction of images that are scaled so that a face has a size between 12 px and 0.9 of its cell."
    )
    turn_deg: NotNegative = Field(default=8.0, description="Standard deviation of the rotation in degrees.")
    large_turn_share: Probability = Field(
        default=0.08, description="Fraction of images that are rotated by up to 60 degrees; a quarter of them by any angle."
    )
    squeeze: Range = Field(
        default=[1.0, 1.0],
        description="Smallest and largest factor of an image's height at constant width: bent and raised heads are shorter.",
    )
    edge_share: Probability = Field(
        default=0.0, description="Fraction of images that are placed so that an edge of the window cuts a face."
    )
    hidden_share: Probability = Field(default=0.08, description="Fraction of faces that are partly hidden.")
    picture_weights: dict[str, NotNegative] = Field(
        default={"^chandrika_": 0.35, "^negative_": 2.5},
        description="Sampling weight of images whose name matches the regular expression. Other images: 1.",
    )
    without_keypoints_weight: NotNegative = Field(
        default=2.5,
        description="Factor of the sampling weight of images with faces without keypoints, mostly profiles and half hidden ones.",
    )
    loss_weights: dict[str, NotNegative] = Field(
        default={"loss_box_reg": 2.0, "loss_keypoint": 0.6}, description="Factor of each loss. Other losses: 1."
    )
    proposals_before_nms: Count = Field(
        default=400,
        description="Proposals before non-maximum suppression: as few as in inference, so that hard ones are trained.",
    )
    proposals: Count = Field(default=64, description="Proposals after non-maximum suppression.")
    rpn_samples: Count = Field(default=128, description="Anchors per window in the loss of the region proposal network.")
    box_samples: Count = Field(default=48, description="Proposals per window in the loss of the box head.")
    relative_learning_rate: bool = Field(
        default=False,
        description="Multiply the learning rate of each tensor by the root mean square of its weights at the start. For "
        "weights of slim-detector, whose tensors have very different sizes: their batch norms are folded.",
    )
    teacher_share: Probability = Field(
        default=1.0,
        description="With --teacher: weight of the losses against its answers. The losses against the labels have the rest.",
    )


class ClassifierRecipe(Recipe):
    """Settings of a classifier training."""

    architecture: str = Field(
        default="mask_mobilenet",
        description="The classifier: mask_mobilenet or mask_resnet18. efficientnet_lite2: only a --teacher.",
    )

    size_px: Annotated[int, Field(ge=32)] = Field(default=112, description="Side of the input of the classifier, in pixels.")
    classes: Annotated[list[CropClass], Field(min_length=2)] = Field(
        default=["mask", "no_mask", "background"],
        description="The classes. background is the last. incorrect: a mask worn below nose or mouth.",
    )
    folders: dict[str, CropClass | None] = Field(
        default={"mask": "mask", "no_mask": "no_mask", "incorrect": "no_mask", "background": "background"},
        description="The class of the crops in each folder. A folder that is absent here, or null, is not read. The folder "
        "background has detections that are not faces: tools/make_crops.py --background.",
    )
    class_shares: dict[str, NotNegative] = Field(
        default={"mask": 4.0, "no_mask": 5.0, "incorrect": 1.0, "background": 4.0, "unlabelled": 0.0},
        description="How often each class is drawn, relative to the others. incorrect counts only where it is a class. "
        "unlabelled: faces of unknown class, which only a training with --teacher reads.",
    )
    folder_shares: dict[str, NotNegative] = Field(
        default={}, description="How often a crop of this folder is drawn, relative to other folders of its class. Others: 1."
    )
    crop_weights: dict[str, NotNegative] = Field(
        default={}, description="Sampling weight of crops whose file name matches the regular expression. Other crops: 1."
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.05, description="Label smoothing.")
    teacher_share: Probability = Field(
        default=0.6, description="With --teacher: weight of the loss against its answers. The labels have the rest."
    )
    teacher_temperature: Positive = Field(
        default=2.0, description="Temperature that softens the answers of teacher and classifier in this loss."
    )
    jitter_turn_deg: NotNegative = Field(
        default=5.0,
        description="Standard deviation of a crop's rotation in degrees, as between detected and labelled keypoints on val.",
    )
    jitter_scale: NotNegative = Field(default=0.09, description="Standard deviation of the logarithm of a crop's scale.")
    jitter_shift: NotNegative = Field(
        default=0.03, description="Standard deviation of a crop's shift, as a fraction of its side."
    )
    small_share: Probability = Field(
        default=0.35, description="Fraction of crops that are reduced to a face of 10 px or more and enlarged again."
    )
    large_turn_share: Probability = Field(
        default=0.0, description="Fraction of crops that are rotated by up to 45 degrees more, as profiles and bent heads are."
    )
    erase_share: Probability = Field(
        default=0.0, description="Fraction of crops with a patch that shows noise, or a part of another crop."
    )
    recolour_share: Probability = Field(
        default=0.0,
        description="Fraction of the crops of classes mask and background whose lower half gets another colour, or a pattern. "
        "Both classes need it: nothing but a face may tell them apart.",
    )
    shadow_share: Probability = Field(
        default=0.0, description="Fraction of crops across which a shadow falls: often on the lower half, or on one side."
    )
    coloured_light_share: Probability = Field(
        default=0.0, description="Fraction of crops in strongly coloured light, as that of a stage."
    )
    bars_share: Probability = Field(
        default=0.0, description="Fraction of crops of every class with bars before them, as of a fence or the grid of a helmet."
    )

    @field_validator("classes")
    @classmethod
    def _has_mask(cls, classes: list[str]) -> list[str]:
        if "mask" not in classes or len(set(classes)) < len(classes):
            raise ValueError("mask must be one of the classes, and no class may be named twice")
        if BACKGROUND in classes[:-1]:
            raise ValueError(f"{BACKGROUND} must be the last class")
        return classes

    @field_validator("crop_weights")
    @classmethod
    def _is_regular_expression(cls, weights: dict[str, float]) -> dict[str, float]:
        for pattern in weights:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern}: not a regular expression: {error}") from error
        return weights

    @field_validator("folders")
    @classmethod
    def _counts_as_a_class(cls, folders: dict[str, str | None], info: ValidationInfo) -> dict[str, str | None]:
        classes = info.data.get("classes", folders.values())
        unknown = sorted({name for name in folders.values() if name} - set(classes))
        if unknown:
            raise ValueError(f"{unknown[0]} is not one of `classes`")
        return folders
