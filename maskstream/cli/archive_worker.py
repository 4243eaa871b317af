"""Analyse the files of an archive, one after the other, in a worker that has loaded the models once."""

import json
import os
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Final

from rich.console import Console

from maskstream import __version__
from maskstream.cli.assembly import Assembly, load_models
from maskstream.cli.file_sinks import Inputs, OpenSinks, close_quietly, open_file_sinks
from maskstream.cli.process import keep_freed_memory, start_log
from maskstream.cli.reporting import Reporting
from maskstream.cli.request import StreamRequest
from maskstream.config.cameras import Camera
from maskstream.config.source_settings import SourceSettings
from maskstream.errors import ConfigError, SinkError, SourceOpenError
from maskstream.events.detector import NumberedIds
from maskstream.fleet.archive_results import EVENTS, SUMMARY, VIDEO, result_folder
from maskstream.fleet.commits import committing, is_committed
from maskstream.fleet.job_progress import JobProgress, JobProgressFile
from maskstream.fleet.jobs import Job, JobOutcome, WorkerSetup, settings_of
from maskstream.fleet.manifest_file import LOCK_NAME
from maskstream.inference.weights_hashes import require_same_weights, weights_hashes
from maskstream.io.files import readable_by
from maskstream.sources import FileSource
from maskstream.stream.engine import Engine, EngineHooks
from maskstream.stream.report import RunReport
from maskstream.stream.source_states import SourceStates
from maskstream.types import SourceInfo

FACES: Final = "faces.jsonl"


class ArchiveWorker:
    """Analyses one file at a time. The results of a file are the same in every worker."""

    def __init__(self, name: str, setup: WorkerSetup) -> None:
        """Load the models.

        Args:
            name: The name of the worker, for its progress.
            setup: What all workers of a command have in common.

        Raises:
            MaskStreamError: The program, the weights or the folder of this machine are not those of the command, or a model
                cannot be loaded.
        """
        start_log(Console(stderr=True), setup.log_level)
        keep_freed_memory()
        self._readers = readable_by(setup.readable_by)  # type: ignore[arg-type]
        self._readers.__enter__()  # for as long as the process lives
        self._archive = Path(setup.archive)
        self._videos = setup.videos
        configs = [settings_of(text) for text in setup.settings]
        self._require_same(setup)
        self._settings = SourceSettings(configs[0], {f"settings {number}": each for number, each in enumerate(configs)})
        self._analyzer = load_models(self._settings, several=True)
        self._progress = JobProgressFile(self._archive, name)

    def ready(self) -> None:
        """Return when the models are loaded."""

    def analyse(self, job: Job) -> JobOutcome:
        """Analyse a file and commit the result, unless it has one.

        Raises:
            SourceError: The file cannot be read, or is another one than when the job was made.
            SinkError: The result cannot be written.
        """
        self._progress.write(JobProgress(job.job_id, 0, 0.0, 0.0))
        if is_committed(self._archive, job.job_id):
            return self._outcome(job, 0.0)
        started_s = perf_counter()
        if job.has_changed() and os.path.exists(job.path):  # noqa: PTH110 (Path raises without permission)
            raise _changed(job)
        with committing(self._archive, job.job_id) as part:
            self._run(job, part)
            if job.has_changed():
                raise _changed(job)
        return self._outcome(job, perf_counter() - started_s)

    def _run(self, job: Job, part: Path) -> None:
        """Run an engine on one file, as `maskstream run` does."""
        config = settings_of(job.settings)
        self._settings.set(job.name, config)
        try:
            with ExitStack() as closing:
                camera = Camera(job.name, job.path, config)
                source = FileSource(job.path, job.name, config.pictures.max_megapixels, config.video)
                closing.callback(close_quietly, source)
                request = self._request(job, part)
                sinks = OpenSinks(closing)
                reporting = Reporting(self._settings, new_id=NumberedIds(job.job_id), over_network=False)
                targets = [] if request.output is None else [request.output]
                open_file_sinks(request, Inputs([camera], [source], targets), config, reporting, sinks)
                hooks = EngineHooks(maintain=partial(self._beat, job, source.info))
                engine = Assembly(self._analyzer, self._settings, SourceStates()).engine(hooks)
                engine.fill_batches()
                engine.add([source], sinks.bindings)
                closing.pop_all()
            engine.run()
        finally:
            self._settings.remove(job.name)

    def _request(self, job: Job, part: Path) -> StreamRequest:
        return StreamRequest(
            sources=(job.path,),
            output=str(part / VIDEO) if self._videos else None,
            jsonl=str(part / FACES),
            events=str(part / EVENTS),
            summary=str(part / SUMMARY),
            show=False,
            overwrite=True,
        )

    def _beat(self, job: Job, info: SourceInfo, engine: Engine) -> None:
        """Tell how far the file is. Called ten times a second."""
        stream = self._settings.of(job.name).stream
        frames = finished_frames(engine.report, stream.stride)
        expected = min(info.frame_count or 0, stream.max_frames or sys.maxsize)
        share = min(1.0, frames / expected) if expected else 0.0
        self._progress.write(JobProgress(job.job_id, frames, frames / (info.average_fps or 25.0), share))

    def _outcome(self, job: Job, seconds: float) -> JobOutcome:
        summary = (result_folder(self._archive, job.job_id) / SUMMARY).read_text(encoding="utf-8", errors="surrogateescape")
        video_s = sum(source["last_s"] - source["began_s"] for source in json.loads(summary)["sources"])
        return JobOutcome(job.job_id, seconds, video_s)

    def _require_same(self, setup: WorkerSetup) -> None:
        """Refuse a machine whose results could differ from those of the others."""
        if setup.version != __version__:
            raise ConfigError(f"this machine has maskstream {__version__}, the command {setup.version}; install the same version")
        if not (self._archive / LOCK_NAME).is_file():
            raise SinkError(f"{self._archive}: is not there on this machine; give an --output that all machines share")
        require_same_weights(weights_hashes(settings_of(setup.settings[0])), setup.weights)


def finished_frames(report: RunReport, stride: int) -> int:
    """Return how far a file is: the frames that are analysed and written, and those between them. Others may be waiting."""
    return max(report.frames, report.analysed * stride)


def _changed(job: Job) -> SourceOpenError:
    return SourceOpenError(f"{job.path}: has changed since the command found it; run the command again")
