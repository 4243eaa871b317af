"""Define all settings of a run: names, types, ranges, defaults and descriptions.

`configs/default.yaml`, `docs/options.md` and the JSON Schemas for editors are generated from here by `tools/make_docs.py`.
"""

from pydantic import Field

from maskstream.config.input_sections import ImagesConfig, NetworkConfig, StreamConfig, WebcamConfig
from maskstream.config.model_sections import (
    AlignConfig,
    ClassifierConfig,
    ClipConfig,
    DetectorConfig,
    EvaluationConfig,
    SteadyConfig,
    TrackingConfig,
)
from maskstream.config.output_sections import (
    CsvConfig,
    EventsConfig,
    OverlayConfig,
    PrivacyConfig,
    VideoConfig,
    WebhookConfig,
    WindowConfig,
)
from maskstream.config.values import (
    Backend,
    Blur,
    Count,
    Deinterlace,
    IncorrectAs,
    LabelMeaning,
    Polygon,
    Precision,
    Probability,
    ReadableBy,
    Section,
    Text,
)
from maskstream.config.web_sections import StoreConfig, WebConfig

__all__ = [
    "AlignConfig",
    "Backend",
    "Blur",
    "ClassifierConfig",
    "ClipConfig",
    "Config",
    "Count",
    "CsvConfig",
    "Deinterlace",
    "DetectorConfig",
    "EvaluationConfig",
    "EventsConfig",
    "ImagesConfig",
    "IncorrectAs",
    "LabelMeaning",
    "NetworkConfig",
    "OverlayConfig",
    "Polygon",
    "Precision",
    "PrivacyConfig",
    "Probability",
    "ReadableBy",
    "Section",
    "SteadyConfig",
    "StoreConfig",
    "StreamConfig",
    "TrackingConfig",
    "VideoConfig",
    "WebConfig",
    "WebcamConfig",
    "WebhookConfig",
    "WindowConfig",
]


class Config(Section):
    """All settings of maskstream."""

    device: str = Field(
        default="auto",
        description="The device that runs the models: auto (CUDA if available, otherwise the CPU), cpu, cuda, cuda:1, mps.",
    )
    precision: Precision = Field(
        default="auto",
        description=(
            "The number format of the models. auto: int8 where OpenVINO runs on a CPU with AVX2 or ARM's dot product (Linux "
            "only) and the weights have a quantised graph, otherwise float32. float16 and bfloat16: PyTorch, faster on most "
            "GPUs. int8: OpenVINO only; an error where that is not possible."
        ),
    )
    threads: Count | None = Field(
        default=None,
        description=(
            "The number of CPU threads of the models and of image processing. null: all cores. Another number can change the "
            "last digits of the results."
        ),
    )
    detector: DetectorConfig = Field(default_factory=DetectorConfig)
    classifier: ClassifierConfig = Field(default_factory=ClassifierConfig)
    align: AlignConfig = Field(default_factory=AlignConfig)
    stream: StreamConfig = Field(default_factory=StreamConfig)
    webcam: WebcamConfig = Field(default_factory=WebcamConfig)
    network: NetworkConfig = Field(default_factory=NetworkConfig)
    pictures: ImagesConfig = Field(default_factory=ImagesConfig)
    window: WindowConfig = Field(default_factory=WindowConfig)
    overlay: OverlayConfig = Field(default_factory=OverlayConfig)
    tracking: TrackingConfig = Field(default_factory=TrackingConfig)
    steady: SteadyConfig = Field(default_factory=SteadyConfig)
    zones: dict[Text, Polygon] = Field(
        default={},
        description=(
            "Zones by name; faces outside all zones are left out. Corners are fractions of width and height: {door: "
            "[[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}. {}: the complete frame, without zones."
        ),
    )
    events: EventsConfig = Field(default_factory=EventsConfig)
    store: StoreConfig = Field(default_factory=StoreConfig)
    web: WebConfig = Field(default_factory=WebConfig)
    privacy: PrivacyConfig = Field(default_factory=PrivacyConfig)
    video: VideoConfig = Field(default_factory=VideoConfig)
    csv: CsvConfig = Field(default_factory=CsvConfig)
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    clip: ClipConfig = Field(default_factory=ClipConfig)
