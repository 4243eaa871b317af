"""Run the command of an archive: find the files, analyse those without a result, merge the results."""

import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loguru import logger
from rich.console import Console

from maskstream import __version__
from maskstream.cli.process import Stopper
from maskstream.config.loading import Layer, refine
from maskstream.config.schema import Config
from maskstream.errors import ConfigError, SourceError, StoreError
from maskstream.fleet.archive_inputs import archive_files
from maskstream.fleet.archive_loop import ArchiveLoop, Team
from maskstream.fleet.archive_progress import ArchiveProgress
from maskstream.fleet.archive_results import FailedJob, FailedState, MergedJob
from maskstream.fleet.commits import committed_ids, remove_parts, remove_results
from maskstream.fleet.job_progress import remove_progress
from maskstream.fleet.jobs import Basis, Job, WorkerSetup, jobs_of, result_settings
from maskstream.fleet.local_placement import LocalPlacement
from maskstream.fleet.manifest import JobRecord, JobState, Manifest, states_of
from maskstream.fleet.merge import FAILURES, PAGE, ArchiveTotals, merge
from maskstream.fleet.placement import Placement
from maskstream.fleet.quantities import plural
from maskstream.inference.pipeline import require_models
from maskstream.inference.weights_hashes import weights_hashes
from maskstream.io.files import readable_by

_WORKER: Final = "maskstream.cli.archive_worker:ArchiveWorker"
_ONE_THREAD: Final = Layer.of_key("a worker of an archive", "threads", 1)
"""One worker for each core analyses more than one worker with all cores, and its results do not depend on the machine."""


@dataclass(frozen=True)
class ArchiveRequest:
    """What a user requests of an archive besides the configuration."""

    inputs: tuple[str, ...]
    output: Path
    """Absolute."""
    command_line: tuple[Layer, ...]
    """The settings of the command line. They are part of the configuration."""
    workers: int | None
    """None: one for each core, or as many as fit on the GPUs."""
    ray: str | None
    """The address of the Ray cluster; None for processes of this machine."""
    gpus_per_worker: float
    videos: bool
    retry_failed: bool
    log_level: str
    console: Console | None
    """The console of the progress; None for no progress."""


def analyse_archive(request: ArchiveRequest, config: Config, stopper: Stopper) -> int:
    """Analyse the files that have no result yet, merge all results, and return the exit code.

    Args:
        request: What the user requests.
        config: The configuration of files without settings of their own.
        stopper: Stops the analysis. What is committed stays, and the tables are those of the last complete command.

    Raises:
        MaskStreamError: The command is wrong, a model cannot be loaded, or a result cannot be written.
    """
    config, layers = _with_one_thread(config, request.command_line)
    _require_people(config)
    require_models(config)
    cameras = archive_files(request.inputs, config, layers)
    basis = Basis(__version__, weights_hashes(config), request.videos)
    jobs = jobs_of(cameras, basis)
    with readable_by(config.privacy.readable_by), Manifest(request.output) as manifest:
        remove_parts(request.output)
        replaced = manifest.begin(jobs, committed_ids(request.output), retry_failed=request.retry_failed)
        waiting = _waiting(manifest, jobs)
        logger.info("{}, {:,} to analyse", plural(len(jobs), "file"), len(waiting))
        if waiting and not _analyse(request, config, basis, manifest, waiting, stopper):
            left = len(_waiting(manifest, jobs))
            logger.info("stopped; {} of {} files wait; the same command goes on", left, len(jobs))
            return 128 + stopper.received
        remove_results(request.output, replaced)
        return _merge(request.output, manifest, jobs, bom=config.csv.bom)


def _with_one_thread(config: Config, command_line: Sequence[Layer]) -> tuple[Config, tuple[Layer, ...]]:
    """Return configuration and layers with one thread for each worker, unless the user has set a number."""
    if config.threads is not None:
        return config, tuple(command_line)
    return refine(config, _ONE_THREAD), (*command_line, _ONE_THREAD)


def _require_people(config: Config) -> None:
    if not config.tracking.enabled:
        raise ConfigError("tracking.enabled: false, but events and summaries of an archive need tracking; set it to true")
    if config.events.mqtt or config.events.webhooks:
        logger.warning("events.mqtt and events.webhooks are without effect in an archive: its events are in events.csv")


def _waiting(manifest: Manifest, jobs: Sequence[Job]) -> list[Job]:
    records = manifest.records()
    return [job for job in jobs if records[job.job_id].state in (JobState.WAITING, JobState.RUNNING)]


def _analyse(
    request: ArchiveRequest, config: Config, basis: Basis, manifest: Manifest, jobs: Sequence[Job], stopper: Stopper
) -> bool:
    """Analyse files; return whether all were analysed."""
    common = result_settings(config, videos=request.videos)
    setup = WorkerSetup(
        archive=str(request.output),
        settings=tuple(dict.fromkeys((common, *(job.settings for job in jobs)))),
        weights=basis.weights,
        videos=request.videos,
        readable_by=config.privacy.readable_by,
        log_level=request.log_level,
    )
    progress = ArchiveProgress(request.console, len(jobs), sum(job.size_bytes for job in jobs), is_silent=request.console is None)
    with _placement(request.ray) as placement:
        size = min(request.workers or _default_workers(placement, request.gpus_per_worker), len(jobs))
        logger.info("{}", plural(size, "worker"))
        team = Team(size, _WORKER, {"setup": setup}, request.gpus_per_worker)
        loop = ArchiveLoop(placement, manifest, team, progress)
        stopper.engine = loop
        try:
            return loop.run(jobs)
        finally:
            progress.close()
            placement.close()  # a worker that still runs would write into a folder that is removed
            with suppress(StoreError):  # the next command does it
                manifest.stopped()
            remove_parts(request.output)
            remove_progress(request.output)


@contextmanager
def _placement(ray: str | None) -> Generator[Placement, None, None]:
    """Yield where the workers run. Sockets need a local folder, which that of the archive may not be."""
    if ray is not None:
        from maskstream.fleet.ray_placement import RayPlacement

        with RayPlacement(ray) as placement:
            yield placement
        return
    with (
        tempfile.TemporaryDirectory(prefix="maskstream-", ignore_cleanup_errors=True) as folder,
        LocalPlacement(Path(folder)) as local,
    ):
        yield local


def _default_workers(placement: Placement, gpus_per_worker: float) -> int:
    nodes = [node for node in placement.nodes() if node.is_alive]
    if gpus_per_worker:
        return max(1, sum(int(node.gpus / gpus_per_worker) for node in nodes))
    return max(1, sum(int(node.cpus) for node in nodes))


def _merge(archive: Path, manifest: Manifest, jobs: Sequence[Job], *, bom: bool) -> int:
    """Merge the results of the files of this command, and return the exit code."""
    records = manifest.records()
    states = states_of(records, jobs)
    others = sum(record.state is JobState.DONE for record in records.values()) - len(states[JobState.DONE])
    if others:
        logger.info("{} of other files: not merged, as no --input of this command names them", plural(others, "result"))
    done = [MergedJob(record.job_id, record.path, record.size_bytes) for record in states[JobState.DONE]]
    failures = [_failure(record) for state in (JobState.FAILED, JobState.QUARANTINED) for record in states[state]]
    totals = merge(archive, done, failures, bom=bom)
    logger.info("{}: {}", archive / PAGE, _summary(totals))
    return SourceError.exit_code if totals.failed else 0


def _summary(totals: ArchiveTotals) -> str:
    """Return the sums of an archive as one line."""
    share = "" if totals.mask_share is None else f"people wore a mask {totals.mask_share:.0%} of the time; "
    failed = f", {totals.failed:,} without a result, see {FAILURES}" if totals.failed else ""
    return f"{share}{plural(totals.files, 'file')} merged{failed}"


def _failure(record: JobRecord) -> FailedJob:
    state: FailedState = "quarantined" if record.state is JobState.QUARANTINED else "failed"
    return FailedJob(record.path, state, record.error, record.last_lines)
