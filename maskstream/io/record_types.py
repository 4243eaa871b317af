"""Define the parts that JSON records share."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

FrameNumber = Annotated[int, Field(ge=0)]
Id = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(min_length=1)]
TimeUtc = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class BoxRecord(TypedDict):
    """A box in pixels of the source frame. A coordinate that is not finite is null."""

    x1: Annotated[float | None, Field(description="The left edge.")]
    y1: Annotated[float | None, Field(description="The upper edge.")]
    x2: Annotated[float | None, Field(description="The right edge.")]
    y2: Annotated[float | None, Field(description="The lower edge.")]
