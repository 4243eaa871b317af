"""Define the types of settings: their units, ranges and choices."""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError

Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
MAX_FACE_EVIDENCE: Final = 4.0
"""The maximum of `Face.evidence`, which is the maximum of `events.min_evidence`."""
Text = Annotated[str, Field(min_length=1)]


def _checked_region(region: list[float]) -> list[float]:
    left, top, right, bottom = region
    if left >= right or top >= bottom:
        raise ValueError("expected [left, top, right, bottom] with left < right and top < bottom, as fractions of the frame")
    return region


def _checked_polygon(corners: list[list[float]]) -> list[list[float]]:
    ends = [*corners[1:], corners[0]]
    doubled_area = sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in zip(corners, ends, strict=True))
    if abs(doubled_area) < 1e-6:
        raise ValueError("expected at least three corners [x, y] around an area, as fractions of the frame")
    return corners


def _checked_short_side(value: Any, check: Callable[[Any], Any]) -> Any:
    """Return a short side; the error of a union would name its first type only."""
    try:
        return check(value)
    except ValidationError as error:
        raise PydanticCustomError("short_side", "expected auto, null, or a whole number of pixels from 64 to 4096") from error


Corner = Annotated[list[Probability], Field(min_length=2, max_length=2)]
Polygon = Annotated[list[Corner], Field(min_length=3), AfterValidator(_checked_polygon)]
Region = Annotated[list[Probability], Field(min_length=4, max_length=4), AfterValidator(_checked_region)]
IncorrectAs = Literal["no_mask", "incorrect"]
Backend = Literal["auto", "torch", "openvino", "onnx"]
ShortSide = Annotated[
    Annotated[int, Field(ge=64, le=4096)] | Literal["auto"] | None,
    WrapValidator(_checked_short_side),
]
Precision = Literal["auto", "float32", "float16", "bfloat16", "int8"]
Execution = Literal["dynamic", "padded", "cuda_graphs"]
Processor = Literal["cpu", "cuda"]
Blur = Literal["none", "all", "masked", "unmasked"]
Deinterlace = Literal["auto", True, False]
PixelAspect = Annotated[float, Field(ge=0.25, le=4)]
ReadableBy = Literal["owner", "group", "everyone"]
MaskLabel = Literal["mask", "no_mask", "incorrect"]
LabelMeaning = Literal["mask", "no_mask", "incorrect", "unknown", "ignore", "ask"]


class Section(BaseModel):
    """Settings that belong together. Unknown keys are refused and types are not converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
