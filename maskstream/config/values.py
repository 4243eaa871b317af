"""Define the types of settings: their units, ranges and choices."""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

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
MaskLabel = Literal["mask", "no_mask", "incorrect"]
LabelMeaning = Literal["mask", "no_mask", "incorrect", "unknown", "ignore", "ask"]


class Section(BaseModel):
    """Settings that belong together. Unknown keys are refused and types are not converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
