"""The configuration: what may be set, and how files and single settings are laid over each other.

The defaults stand in one place, `configs/default.yaml`. Every other file or setting names only what it changes.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from maskstream.errors import ConfigError

DEFAULT_CONFIG = Path(__file__).resolve().parents[1] / "configs" / "default.yaml"

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
LabelMeaning = Literal["mask", "no_mask", "incorrect", "unknown", "ignore"]


class Section(BaseModel):
    """Some settings that belong together: no unknown keys, no guessing of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


SectionT = TypeVar("SectionT", bound=Section)


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

    transport: Literal["tcp", "udp"]
    open_timeout_s: Annotated[float, Field(gt=0)]
    read_timeout_s: Annotated[float, Field(gt=0)]
    keep_damaged: bool
    max_reconnects: Annotated[int, Field(ge=0)] | None


class PicturesConfig(Section):
    """How pictures are found."""

    recursive: bool


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
    """How annotated video is written."""

    segment_s: Annotated[float, Field(ge=1)] | None
    crf: Annotated[int, Field(ge=0, le=51)]
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]


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


class WebhookConfig(Section):
    """An address that is told of events."""

    url: str
    secret: str | None = None


class EventsConfig(Section):
    """What is worth telling, and to whom."""

    labels: list[Literal["mask", "no_mask", "incorrect"]]
    min_seconds: Annotated[float, Field(ge=0)]
    update_s: Annotated[float, Field(gt=0)]
    mqtt: str | None
    webhooks: list[WebhookConfig]
    queue: str | None
    queue_mb: Annotated[float, Field(gt=0)]


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


def plain_name(name: str) -> str:
    """Return the name of a class as `evaluation.labels` is asked for it: case, spaces, hyphens and dots make no difference."""
    return re.sub(r"[\s.-]", "_", name.strip().casefold())


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
    pictures: PicturesConfig
    window: WindowConfig
    overlay: OverlayConfig
    tracking: TrackingConfig
    steady: SteadyConfig
    zones: dict[Annotated[str, Field(min_length=1)], Polygon]
    events: EventsConfig
    privacy: PrivacyConfig
    video: VideoConfig
    evaluation: EvaluationConfig
    clip: ClipConfig


@dataclass(frozen=True)
class Layer:
    """Some settings and where they come from, for messages."""

    origin: str
    values: Mapping[str, Any]

    @classmethod
    def of_key(cls, origin: str, dotted_key: str, value: object) -> "Layer":
        """Return a layer that sets one key, such as `detector.min_score`."""
        nested = value
        for part in reversed(dotted_key.split(".")):
            nested = {part: nested}
        return cls(origin, nested if isinstance(nested, dict) else {})

    @classmethod
    def of_assignment(cls, assignment: str) -> "Layer":
        """Return the layer of `key.path=value` as given to `--set`; the value is read as YAML."""
        key, equals, text = assignment.partition("=")
        if not equals or not all(key.split(".")):
            raise ConfigError(f"--set {assignment}: expected key.path=value, such as detector.min_score=0.7")
        try:
            return cls.of_key(f"--set {key}", key, yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {assignment}: the value is not YAML; quote it") from error

    @classmethod
    def of_file(cls, path: Path) -> "Layer":
        """Return the settings of a YAML file."""
        values = read_yaml(path)
        if values is not None and not isinstance(values, dict):
            raise ConfigError(f"{path}: holds {values!r:.50}, expected keys such as in configs/default.yaml")
        return cls(str(path), values or {})


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds.

    Raises:
        ConfigError: It cannot be read, or is no YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigError(f"{path}: cannot be read: {reason}; give a YAML file such as configs/default.yaml") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error


def load_config(path: Path | None = None, layers: Iterable[Layer] = ()) -> Config:
    """Return the defaults with a file and further layers laid over them; see `load_sections`."""
    return load_sections(Config, DEFAULT_CONFIG, path, layers)


def load_sections(kind: type[SectionT], defaults: Path, path: Path | None, layers: Iterable[Layer]) -> SectionT:
    """Return settings of any kind: a file of defaults with a file and further layers laid over it.

    Args:
        kind: What the settings are.
        defaults: A YAML file that names every key.
        path: A YAML file that names what it changes.
        layers: Laid over it in order.

    Raises:
        ConfigError: A file cannot be read, or a key or value is wrong; names file, key, value and what is allowed.
    """
    files = [defaults] if path is None else [defaults, path]
    return _validated(kind, {}, [*map(Layer.of_file, files), *layers])


def refine(config: Config, layer: Layer) -> Config:
    """Return a configuration with one more layer laid over it.

    Raises:
        ConfigError: A key or value of the layer is wrong.
    """
    return _validated(Config, config.model_dump(), [layer])


def _validated(kind: type[SectionT], merged: dict[str, Any], stack: list[Layer]) -> SectionT:
    for layer in stack:
        merged = _merge(merged, layer.values)
    try:
        return kind.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_explain(error, kind, stack)) from error


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both_nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both_nested else value
    return merged


def _explain(error: ValidationError, kind: type[BaseModel], stack: list[Layer]) -> str:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"] if part in first["loc"][:2]]
    origin = next((layer.origin for layer in reversed(stack) if _sets(layer.values, path)), stack[0].origin)
    key = ".".join(path)
    if first["type"] == "extra_forbidden":
        return f"{origin}: unknown key {key}; allowed here: {', '.join(_keys_beside(kind, path))}"
    if first["type"] == "missing":
        return f"{origin}: {key} is missing; restore it"
    return f"{origin}: {key}: {first['input']!r:.80} is not allowed; {first['msg'][:1].lower()}{first['msg'][1:]}"


def _sets(values: object, path: list[str]) -> bool:
    for part in path:
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True


def _keys_beside(section: type[BaseModel], path: list[str]) -> list[str]:
    for part in path[:-1]:
        annotation = section.model_fields[part].annotation
        section = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else section
    return list(section.model_fields)
