"""Contain the options of an evaluation."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from maskstream.annotations import LabelFormat
from maskstream.evaluation.contact_sheets import MOST_TILES
from maskstream.evaluation.predictions import BoxKind
from maskstream.evaluation.systems import SystemName


@dataclass(frozen=True)
class EvaluationRequest:
    """The options of `maskstream evaluate`, without the configuration."""

    images: Path
    labels: Path | None
    """None for images without people; `unlabelled` is `negative` then."""
    out: Path
    format: LabelFormat | None = None
    unlabelled: Literal["skip", "negative"] = "skip"
    strict: bool = False
    """Refuse broken labels and images."""
    box: BoxKind = "face"
    """What the labelled boxes contain."""
    system: SystemName = "maskstream"
    weights: str | None = None
    """Weights file of yolo or clip."""
    predictions: Path | None = None
    """A file of predictions; no model runs then."""
    categories: Mapping[int, str] | None = None
    """Names by id, for COCO results."""
    predicted_box: BoxKind | None = None
    """What the boxes of yolo, or of a file of predictions, contain; None: the same as the labelled boxes."""
    min_score: float | None = None
    """Operating threshold; None: that of the configuration, or of the file of predictions."""
    group_by: re.Pattern[str] | None = None
    contact_sheets: int = MOST_TILES
    """Maximum number of errors on a contact sheet."""
    progress: Console | None = None
    """Console of the progress bar; None for no bar."""
