"""What may be set, section by section: names, types and limits. `configs/default.yaml` says what each key means."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


def _checked_region(region: list[float]) -> list[float]:
    left, top, right, bottom = region
    if left >= right or top >= bottom:
        raise ValueError("expected [left, top, right, bottom] with left < right and top < bottom, as shares of the picture")
    return region


def _checked_polygon(corners: list[list[float]]) -> list[list[float]]:
    ends = [*corners[1:], corners[0]]
    doubled_area = sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in zip(corners, ends, strict=True))
    if abs(doubled_area) < 1e-6:
        raise ValueError("expected at least three corners [x, y] around an area, as shares of the picture")
    return corners


Corner = Annotated[list[Probability], Field(min_length=2, max_length=2)]
Polygon = Annotated[list[Corner], Field(min_length=3), AfterValidator(_checked_polygon)]
Region = Annotated[list[Probability], Field(min_length=4, max_length=4), AfterValidator(_checked_region)]
IncorrectAs = Literal["no_mask", "incorrect"]
Backend = Literal["auto", "torch", "openvino", "onnx"]
Precision = Literal["float32", "float16", "bfloat16"]
Blur = Literal["none", "all", "masked", "unmasked"]
Deinterlace = Literal["auto", True, False]
PixelAspect = Annotated[float, Field(ge=0.25, le=4)]
ReadableBy = Literal["owner", "group", "everyone"]
LabelMeaning = Literal["mask", "no_mask", "incorrect", "unknown", "ignore", "ask"]
"""What the name of a class means; `ask`: `unknown`, or a question to the user where other names make it ambiguous."""


class Section(BaseModel):
    """Some settings that belong together: no unknown keys, no guessing of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DetectorConfig(Section):
    """What finds people or faces."""

    name: str
    weights: str | None
    backend: Backend
    every: Count
    min_score: Probability
    short_side: Annotated[int, Field(ge=64, le=4096)] | None
    max_faces: Count
    region: Region | None


class ClassifierConfig(Section):
    """What judges a face."""

    name: str
    weights: str | None
    backend: Backend
    incorrect_as: IncorrectAs
    max_background: Probability


class AlignConfig(Section):
    """When a face is good enough to be judged."""

    min_face_px: Annotated[float, Field(ge=1)]
    min_keypoint_score: Probability
    min_unknown_score: Probability


class StreamConfig(Section):
    """How frames flow."""

    batch_size: Count | None
    stride: Count
    max_frames: Count | None
    realtime: bool
    max_staleness_s: Annotated[float, Field(gt=0)]
    health_s: Annotated[float, Field(gt=0)]


class WebcamConfig(Section):
    """What is asked of a webcam; a device that cannot do it takes what is nearest."""

    width: Count | None
    height: Count | None
    fps: Annotated[float, Field(gt=0)] | None
    mirror: bool


class NetworkConfig(Section):
    """How cameras are reached."""

    transport: Literal["auto", "tcp", "udp"]
    verify_tls: Literal["auto", True, False]
    ca_file: str | None
    open_timeout_s: Annotated[float, Field(gt=0)]
    read_timeout_s: Annotated[float, Field(gt=0)]
    max_frame_mb: Annotated[float, Field(gt=0, le=1000)]
    max_megapixels: Annotated[float, Field(gt=0, le=250)]
    keep_damaged: bool
    snapshot_s: Annotated[float, Field(ge=0, le=3600)]
    max_reconnects: Annotated[int, Field(ge=0)] | None


class ImagesConfig(Section):
    """How pictures are found, and how large they, and frames of video files, may be."""

    recursive: bool
    max_megapixels: Annotated[float, Field(gt=0, le=500)]


class WindowConfig(Section):
    """What the window does."""

    picture_s: Annotated[float, Field(ge=0)]
    snapshots: str


class OverlayConfig(Section):
    """What is drawn."""

    labels: bool
    keypoints: bool
    skeleton: bool
    zones: bool


class VideoConfig(Section):
    """How video is read, and annotated video is written."""

    deinterlace: Deinterlace = "auto"
    pixel_aspect: PixelAspect | None = None
    segment_s: Annotated[float, Field(ge=1)] | None
    crf: Annotated[int, Field(ge=0, le=51)]
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]


class CsvConfig(Section):
    """How tables are written."""

    bom: bool


class TrackingConfig(Section):
    """Who is whom from frame to frame."""

    enabled: bool
    lost_s: Annotated[float, Field(gt=0, le=60)]


class SteadyConfig(Section):
    """What a person wears over time."""

    enabled: bool
    memory_s: Annotated[float, Field(gt=0)]
    to_change: Annotated[float, Field(ge=0)]


class PrivacyConfig(Section):
    """What must not be seen in anything that is stored or served."""

    blur: Blur
    store_crops: bool
    readable_by: ReadableBy


class WebhookConfig(Section):
    """An address that is told of events."""

    url: Annotated[str, Field(repr=False)]
    secret: Annotated[str | None, Field(repr=False)] = None
    name: Annotated[str, Field(min_length=1)] | None = None


class EventsConfig(Section):
    """What is worth telling, and to whom."""

    labels: list[Literal["mask", "no_mask", "incorrect"]]
    min_seconds: Annotated[float, Field(ge=0)]
    update_s: Annotated[float, Field(gt=0)]
    mqtt: Annotated[str | None, Field(repr=False)]
    mqtt_name: Annotated[str, Field(min_length=1)] | None
    webhooks: list[WebhookConfig]
    ca_file: str | None
    queue: str | None
    queue_mb: Annotated[float, Field(gt=0)]
    unclaimed_days: Annotated[float, Field(ge=0)]


class ClipConfig(Section):
    """What the zero-shot classifier `clip` is asked."""

    model: str
    weights: str
    prompts: dict[Literal["mask", "no_mask", "incorrect"], Annotated[list[str], Field(min_length=1)]]


class EvaluationConfig(Section):
    """How predictions are measured against labels."""

    score_floor: Probability
    iou: Annotated[float, Field(ge=0.05, le=0.95, multiple_of=0.05)]
    bootstrap: Annotated[int, Field(ge=0)]
    labels: dict[str, LabelMeaning]


class Config(Section):
    """Everything that may be set; `configs/default.yaml` says what each key means."""

    device: str
    precision: Precision
    detector: DetectorConfig
    classifier: ClassifierConfig
    align: AlignConfig
    stream: StreamConfig
    webcam: WebcamConfig
    network: NetworkConfig
    pictures: ImagesConfig
    window: WindowConfig
    overlay: OverlayConfig
    tracking: TrackingConfig
    steady: SteadyConfig
    zones: dict[Annotated[str, Field(min_length=1)], Polygon]
    events: EventsConfig
    privacy: PrivacyConfig
    video: VideoConfig
    csv: CsvConfig
    evaluation: EvaluationConfig
    clip: ClipConfig
