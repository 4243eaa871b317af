"""Define the settings of the models, of tracking, and of the evaluation, section by section."""

from typing import Annotated, Final, Literal

from pydantic import Field

from maskstream.config.values import (
    Backend,
    Count,
    Execution,
    IncorrectAs,
    LabelMeaning,
    MaskLabel,
    NotNegative,
    Positive,
    Probability,
    Region,
    Section,
    ShortSide,
)

_PROMPTS: Final[dict[MaskLabel, list[str]]] = {
    "mask": ["a photo of a person wearing a face mask", "a face covered by a surgical mask"],
    "no_mask": ["a photo of a person without a face mask", "a bare face with nose and mouth visible"],
}
_MEANINGS: Final[dict[str, LabelMeaning]] = {
    "mask": "mask",
    "masked": "mask",
    "with_mask": "mask",
    "face_mask": "mask",
    "mask_on": "mask",
    "con_mascarilla": "mask",
    "no_mask": "no_mask",
    "nomask": "no_mask",
    "unmasked": "no_mask",
    "without_mask": "no_mask",
    "no_face_mask": "no_mask",
    "mask_off": "no_mask",
    "sin_mascarilla": "no_mask",
    "incorrect": "incorrect",
    "incorrect_mask": "incorrect",
    "with_incorrect_mask": "incorrect",
    "mask_weared_incorrect": "incorrect",
    "mal_colocada": "incorrect",
    "face": "ask",
    "head": "ask",
    "difficult": "ignore",
    "ignore": "ignore",
}


class DetectorConfig(Section):
    """The model that finds faces or people, and the frames that it runs on."""

    name: str = Field(
        default="face_mobilenet",
        description=(
            "The detector. face_mobilenet: faces with nose and eyes, fast, shipped. coco_resnet50: people with 17 "
            "keypoints, slow on a CPU, downloaded on first use."
        ),
    )
    weights: str | None = Field(default=None, description="A weights file. null: the usual weights of the detector.")
    backend: Backend = Field(
        default="auto",
        description=(
            "The library that runs the network. openvino and onnx run on the CPU only. auto: the fastest that is installed."
        ),
    )
    execution: Execution = Field(
        default="dynamic",
        description=(
            "How PyTorch runs the detector. dynamic: with the numbers of proposals and faces as shapes, for which the GPU waits "
            "several times for each image. padded: a batch at once with fixed shapes, and the same results. cuda_graphs: the "
            "same, recorded once for each shape, on CUDA. The speed of both on a GPU was not measured: maskstream gpu-check "
            "compares them. Without effect on other backends."
        ),
    )
    every: Count = Field(
        default=3,
        description=(
            "Run the detector on every Nth frame. Faces are propagated by optical flow between detections, with "
            "`judged: false` in the records. Without effect where privacy.blur anonymises faces: the detector then "
            "runs on every analysed frame."
        ),
    )
    motion: Literal["auto", True, False] = Field(
        default="auto",
        description=(
            "Let the detector rest while nothing changes in the picture, no face is in view, and detector.idle_s has not passed "
            "since its last run. auto: for cameras, but not for files, and not where privacy.blur anonymises faces. true: "
            "also there; the last picture is then shown while the detector rests. Has no effect on images. A camera that "
            "moves gives it no rest."
        ),
    )
    motion_threshold: Annotated[float, Field(ge=1, le=255)] = Field(
        default=8.0,
        description=(
            "The change of brightness, from 0 to 255, that counts as motion: the mean over 3x3 cells, with 96 cells along the "
            "short side of the picture. Lower values are more sensitive."
        ),
    )
    idle_s: Annotated[float, Field(gt=0, le=3600)] = Field(
        default=2.0,
        description="The longest rest of the detector, in seconds. A face that appears without visible motion is found then.",
    )
    min_score: Probability = Field(
        default=0.25,
        description=(
            "Leave out faces with a lower score of the detector. Where privacy.blur anonymises faces, detections from 0.15 "
            "are anonymised too."
        ),
    )
    min_face_px: Annotated[float, Field(ge=0)] = Field(
        default=8.0,
        description=(
            "Leave out faces of a smaller width or height, in pixels of the source. The models were measured on faces from 8 px."
        ),
    )
    short_side: ShortSide = Field(
        default=None,
        description=(
            "Scale frames to this short side, in pixels, for the detector. null: the size the model was trained for "
            "(face_mobilenet 384, coco_resnet50 800); auto for face_mobilenet where all sources are images. auto: larger frames "
            "are analysed twice, in this size for near faces, and in their own size, or at most twice this size, for distant "
            "faces; takes up to 5 times as long."
        ),
    )
    max_faces: Count = Field(
        default=100, description="The maximum number of faces in a frame. Those with the highest scores are kept."
    )
    region: Region | None = Field(
        default=None,
        description=(
            "Detect faces in this part of the frame only: [left, top, right, bottom] as fractions of width and "
            "height. null: the complete frame. Where privacy.blur anonymises faces, the rest of the frame is filled "
            "with grey."
        ),
    )


class ClassifierConfig(Section):
    """The model that classifies a face as with or without a mask."""

    name: str = Field(
        default="auto",
        description=(
            "The classifier. mask_mobilenet and mask_resnet18 (larger) are shipped. auto: the classifier of the weights "
            "file; without one mask_resnet18 on a GPU, mask_mobilenet on a CPU. clip: zero-shot, slow on a CPU, with the "
            "settings of the section clip."
        ),
    )
    weights: str | None = Field(default=None, description="A weights file. null: the usual weights of the classifier.")
    backend: Backend = Field(default="auto", description="The library that runs the network, as in detector.backend.")
    incorrect_as: IncorrectAs = Field(
        default="no_mask",
        description=(
            "The label of a mask worn below nose or mouth. incorrect needs weights that know this class, as the shipped ones do."
        ),
    )
    max_background: Probability = Field(
        default=0.7,
        description="Leave out a face that the classifier takes for background with a higher probability. 1: leave out none.",
    )


class AlignConfig(Section):
    """The conditions for a face to be classified. Other faces get the label `unknown`."""

    min_face_px: Annotated[float, Field(ge=1)] = Field(
        default=8.0, description="The minimum width and height of the tight face box, in pixels of the source."
    )
    min_keypoint_score: Probability = Field(
        default=0.3,
        description=(
            "The minimum score of the better eye keypoint. Below it the eyes are uncertain, as in many profiles: the face is "
            "classified only from align.min_uncertain_score."
        ),
    )
    min_uncertain_score: Probability = Field(
        default=0.5,
        description=(
            "Classify a face whose eyes are uncertain where the score of the detector is at least this. Faces of coco_resnet50 "
            "are not classified then."
        ),
    )
    max_uncertain_background: Probability = Field(
        default=0.7, description="As classifier.max_background, for a face whose eyes are uncertain."
    )
    min_unknown_score: Probability = Field(
        default=0.7, description="Leave out a face that was not classified where the score of the detector is lower."
    )


class TrackingConfig(Section):
    """Track ids of people from frame to frame."""

    enabled: bool = Field(
        default=True, description="Give each person a track id. Steady labels, events and the summary need track ids."
    )
    lost_s: Annotated[float, Field(gt=0, le=60)] = Field(
        default=1.5,
        description="End the track of a person who is not detected for this time, in seconds. Later the person gets another id.",
    )


class SteadyConfig(Section):
    """The label of a person over time (the steady label)."""

    enabled: bool = Field(
        default=True,
        description="Combine the labels of all frames of a person, and draw the result. false: draw the label of each frame.",
    )
    memory_s: Positive = Field(
        default=2.0, description="The time constant, in seconds: after this time a frame counts with 37 % of its weight."
    )
    to_change: NotNegative = Field(
        default=2.0,
        description=(
            "The evidence, in log-odds, that gives a person the first steady label or changes it. 2 is a probability "
            "of 88 %, 3 of 95 %."
        ),
    )


class EvaluationConfig(Section):
    """The comparison of predictions with labels in `maskstream evaluate`."""

    score_floor: Probability = Field(
        default=0.05,
        description="Keep detections with at least this score for the curves. detector.min_score applies to everything else.",
    )
    iou: Annotated[float, Field(ge=0.05, le=0.95, multiple_of=0.05)] = Field(
        default=0.5, description="The IoU for a match in breakdowns, curves and lists of errors."
    )
    bootstrap: Annotated[int, Field(ge=0)] = Field(
        default=2000, description="The number of resamples of the images for the 95 % intervals. 0: no intervals."
    )
    labels: dict[str, LabelMeaning] = Field(
        default=_MEANINGS,
        description=(
            "The meaning of each class name. unknown: a face of unknown class. ignore: neither right nor wrong. ask: "
            "unknown; but where the other names mean only one of mask and no_mask, the program stops and asks for the "
            "meaning."
        ),
    )


class ClipConfig(Section):
    """The zero-shot classifier `clip`, which needs requirements-clip.txt."""

    model: str = Field(default="ViT-B-32", description="The architecture, by its name in open_clip.")
    weights: str = Field(
        default="laion2b_s34b_b79k",
        description="The weights, by their name in open_clip (downloaded on first use), or a file.",
    )
    prompts: dict[MaskLabel, Annotated[list[str], Field(min_length=1)]] = Field(
        default=_PROMPTS,
        description="Descriptions of each class in words. The descriptions of a class are averaged.",
    )
