"""The files of an evaluation."""

import io
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np

from maskstream.annotations.types import Annotations
from maskstream.errors import ConfigError
from maskstream.evaluation.contact_sheets import write_sheets
from maskstream.evaluation.error_analysis import mistakes_csv
from maskstream.evaluation.history import history
from maskstream.evaluation.matching import IntArray
from maskstream.evaluation.plots import write_plots
from maskstream.evaluation.predictions import to_json
from maskstream.evaluation.report import write_report
from maskstream.evaluation.scoring import Scored
from maskstream.io.files import one_line, replace_file
from maskstream.io.images import read_image
from maskstream.types import BgrImage

METRICS_FILE: Final = "metrics.json"
PREDICTIONS_FILE: Final = "predictions.json"
COUNTS_FILE: Final = "counts.npz"
COUNTS_SHAPE: Final = (19, 5, 5)
"""Of the tables of each image: by IoU, labelled as, taken for."""
COMPARED: Final = (("data", "sha256"), ("settings", "box"), ("settings", "incorrect_as"))
"""What of the metrics must be the same in runs that are compared."""
_DAMAGED: Final = (
    *(OSError, ValueError, LookupError, TypeError, RecursionError, EOFError, MemoryError, NotImplementedError),
    *(BadZipFile, zlib.error),
)
"""What is raised for files that were damaged at random."""


@dataclass(frozen=True, eq=False)
class Run:
    """What is read back of a run."""

    folder: Path
    metrics: Mapping[str, Any]
    names: tuple[str, ...]
    one_to_one: IntArray
    """(P, 19, 5, 5)."""


def write_results(
    folder: Path, metrics: Mapping[str, Any], scored: Scored, annotations: Annotations, *, csv_bom: bool = False
) -> None:
    """Write everything but the predictions into a folder that exists; CSV begins with a byte order mark if wanted.

    Raises:
        SinkError: A file cannot be written.
    """
    paths = {image.name: image.path for image in annotations.images}

    def read(name: str) -> BgrImage:
        return read_image(str(paths[name]))

    replace_file(folder / COUNTS_FILE, _npz(scored))
    replace_file(folder / "mistakes.csv", mistakes_csv(scored.mistakes, bom=csv_bom).encode(errors="surrogateescape"))
    replace_file(folder / "eval_history.json", to_bytes(history(metrics)))
    plots = write_plots(metrics, folder)
    sheets = write_sheets(scored.mistakes, read, folder)
    write_report(metrics, scored.mistakes, sheets, plots, folder / "report.html")
    replace_file(folder / METRICS_FILE, to_bytes(metrics))


def write_predictions(folder: Path, header: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> None:
    """Write predictions.json.

    Raises:
        SinkError: It cannot be written.
    """
    replace_file(folder / PREDICTIONS_FILE, to_json(header, list(records)).encode())


def to_bytes(content: Mapping[str, Any]) -> bytes:
    """Return a JSON file."""
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def _npz(scored: Scored) -> bytes:
    """Return names (P,), `one_to_one` (P, 19, 5, 5) and `paper` (P, 19, 2, 2) as a compressed NumPy archive."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, names=np.array(scored.names, np.str_), one_to_one=scored.one_to_one, paper=scored.paper)
    return buffer.getvalue()


def read_run(folder: Path) -> Run:
    """Read what a run has written.

    Raises:
        ConfigError: There is no finished run in this folder.
    """
    try:
        metrics = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
        for section, key in COMPARED:
            metrics[section][key]
        with (folder / COUNTS_FILE).open("rb") as file, np.load(file, allow_pickle=False) as counts:
            names, one_to_one = counts["names"], counts["one_to_one"]
        if names.ndim != 1 or one_to_one.shape != (len(names), *COUNTS_SHAPE) or one_to_one.dtype.kind not in "iu":
            raise ValueError(f"{COUNTS_FILE} holds other tables")
        return Run(folder, metrics, tuple(names.tolist()), one_to_one)
    except _DAMAGED as error:
        raise ConfigError(f"{one_line(str(folder))}: no results of a finished evaluation ({error}); give its --out") from error
