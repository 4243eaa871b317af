"""Write the files of an evaluation, and read them back for a comparison."""

import io
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np

from maskstream.annotations.labelled_images import Annotations
from maskstream.errors import ConfigError
from maskstream.evaluation.contact_sheets import MOST_TILES, write_sheets
from maskstream.evaluation.error_analysis import mistakes_csv
from maskstream.evaluation.history import history
from maskstream.evaluation.html_report import write_report
from maskstream.evaluation.matching import IntArray
from maskstream.evaluation.metric_plots import write_plots
from maskstream.evaluation.metrics_json import Metrics
from maskstream.evaluation.predictions import to_json
from maskstream.evaluation.scoring import Scored
from maskstream.io.files import one_line, replace_file
from maskstream.io.images import read_image

METRICS_FILE: Final = "metrics.json"
PREDICTIONS_FILE: Final = "predictions.json"
COUNTS_FILE: Final = "counts.npz"
COUNTS_SHAPE: Final = (19, 5, 5)
"""Shape of the tables of each image: IoU, labelled as, classified as."""
_DAMAGED: Final = (
    *(OSError, ValueError, LookupError, TypeError, RecursionError, EOFError, MemoryError, NotImplementedError),
    *(BadZipFile, zlib.error),
)
"""Errors that a file with random damage raises."""


@dataclass(frozen=True, eq=False)
class Run:
    """A finished evaluation, read from its folder."""

    folder: Path
    labels_sha256: str
    box: str
    incorrect_as: str
    names: tuple[str, ...]
    """Names of the P images."""
    one_to_one: IntArray
    """(P, 19, 5, 5)."""


def write_results(
    folder: Path,
    metrics: Metrics,
    scored: Scored,
    annotations: Annotations,
    *,
    csv_bom: bool = False,
    most_tiles: int = MOST_TILES,
) -> None:
    """Write all files except the predictions.

    Args:
        folder: An existing folder.
        metrics: The content of metrics.json.
        scored: Counts and errors.
        annotations: The labelled images, for the contact sheets.
        csv_bom: Begin mistakes.csv with a byte order mark (`csv.bom`).
        most_tiles: Maximum number of errors on a contact sheet.

    Raises:
        SinkError: A file cannot be written.
    """
    paths = {image.name: image.path for image in annotations.images}
    counts = io.BytesIO()  # names (P,), one_to_one (P, 19, 5, 5) and paper (P, 19, 2, 2)
    np.savez_compressed(counts, names=np.array(scored.names, np.str_), one_to_one=scored.one_to_one, paper=scored.paper)
    replace_file(folder / COUNTS_FILE, counts.getvalue())
    replace_file(folder / "mistakes.csv", mistakes_csv(scored.mistakes, bom=csv_bom).encode(errors="surrogateescape"))
    replace_file(folder / "eval_history.json", to_bytes(history(metrics)))
    plots = write_plots(metrics, folder)
    sheets = write_sheets(scored.mistakes, lambda name: read_image(str(paths[name])), folder, most_tiles)
    write_report(metrics, scored.mistakes, sheets, plots, folder / "report.html")
    replace_file(folder / METRICS_FILE, to_bytes(metrics.to_json()))


def write_predictions(folder: Path, header: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> None:
    """Write predictions.json.

    Raises:
        SinkError: The file cannot be written.
    """
    replace_file(folder / PREDICTIONS_FILE, to_json(header, list(records)).encode())


def to_bytes(content: Mapping[str, Any]) -> bytes:
    """Return the bytes of a JSON file."""
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def read_run(folder: Path) -> Run:
    """Read the files of a finished evaluation.

    Raises:
        ConfigError: The folder has no finished evaluation.
    """
    try:
        metrics = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
        with (folder / COUNTS_FILE).open("rb") as file, np.load(file, allow_pickle=False) as counts:
            names, one_to_one = counts["names"], counts["one_to_one"]
        if names.ndim != 1 or one_to_one.shape != (len(names), *COUNTS_SHAPE) or one_to_one.dtype.kind not in "iu":
            raise ValueError(f"{COUNTS_FILE} has tables of another shape")
        return Run(
            folder=folder,
            labels_sha256=metrics["data"]["sha256"],
            box=metrics["settings"]["box"],
            incorrect_as=metrics["settings"]["incorrect_as"],
            names=tuple(names.tolist()),
            one_to_one=one_to_one,
        )
    except _DAMAGED as error:
        raise ConfigError(
            f"{one_line(str(folder))}: no results of a finished evaluation ({error}); give the --out folder of one"
        ) from error
