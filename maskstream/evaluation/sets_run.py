"""Evaluate several sets of images with one load of the models, and write one report for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from loguru import logger

from maskstream import __version__
from maskstream.annotations import Annotations
from maskstream.config.schema import Config
from maskstream.errors import ConfigError
from maskstream.evaluation.metrics_json import SystemInfo
from maskstream.evaluation.outputs import METRICS_FILE, PREDICTIONS_FILE, to_bytes
from maskstream.evaluation.request import EvaluationRequest
from maskstream.evaluation.run import LoadedSystem, load_system, measure, read_labels, remove_journal, write
from maskstream.evaluation.set_metrics import set_metrics
from maskstream.evaluation.sets_json import SetMetrics, SetsMetrics
from maskstream.evaluation.sets_report import write_sets_report
from maskstream.io.files import make_folder, one_line, replace_file


@dataclass(frozen=True)
class SetRequest:
    """One set of images of an evaluation of several sets."""

    name: str
    request: EvaluationRequest
    """Its `out` is the folder of the set, in the folder of the report. Its `predictions` are those of the set."""
    config: Config
    """Only the section `evaluation` may differ from set to set."""


def evaluate_sets(sets: Sequence[SetRequest], out: Path) -> SetsMetrics:
    """Measure a system, or files of predictions, on each set; write the results of each set and the report of all sets.

    The labels of all sets are read first, so that a broken file ends the run before the models run. If the run is interrupted,
    the same call continues with the images that are missing.

    Args:
        sets: At least one set.
        out: Folder of report.html and metrics.json.

    Raises:
        MaskStreamError: Something cannot be read, run or written.
    """
    started = perf_counter()
    annotations = [read_labels(each.request, each.config) for each in sets]
    make_folder(str(out))
    first = sets[0]
    loaded = None if first.request.predictions else load_system(first.request, first.config)
    metrics: dict[str, SetMetrics] = {}
    system: SystemInfo | None = None
    analysed = 0
    for number, (each, labelled) in enumerate(zip(sets, annotations, strict=True), 1):
        logger.info("set {} ({} of {}): {} images", each.name, number, len(sets), len(labelled.images))
        found, system, pictures = _measure_set(each, labelled, loaded)
        metrics[each.name] = found
        analysed += pictures
    assert system is not None
    result = SetsMetrics(
        maskstream=__version__,
        created_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        system=system,
        sets=metrics,
        pictures_analysed=analysed,
        elapsed_s=round(perf_counter() - started, 3),
    )
    write_sets_report(result, out)
    replace_file(out / METRICS_FILE, to_bytes(result.to_json()))
    for each in sets:
        remove_journal(each.request.out)
    logger.info("{}: wrote report.html and metrics.json", one_line(str(out)))
    return result


def _measure_set(each: SetRequest, labelled: Annotations, loaded: LoadedSystem | None) -> tuple[SetMetrics, SystemInfo, int]:
    """Measure a set and write its results; return its metrics, the system, and the number of images that were analysed."""
    measured = measure(each.request, each.config, labelled, loaded)
    write(measured, each.request, each.config)
    speed = measured.metrics.speed
    return set_metrics(measured), measured.metrics.system, 0 if speed is None else speed.pictures_analysed


def with_predictions(sets: Sequence[SetRequest], folder: Path) -> list[SetRequest]:
    """Return sets with the predictions of an earlier run, from its `--out` folder.

    Raises:
        ConfigError: The folder has no predictions of a set.
    """
    found = []
    for each in sets:
        path = folder / each.name / PREDICTIONS_FILE
        if not path.is_file():
            raise ConfigError(
                f"--predictions {one_line(str(folder))}: {one_line(str(path))} does not exist; "
                "give the --out folder of a run with --sets that has the same sets"
            )
        found.append(replace(each, request=replace(each.request, predictions=path)))
    return found
