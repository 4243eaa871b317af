"""Give the files of an archive to workers, and try again what a worker that ended has not finished."""

import os
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final

from loguru import logger

from maskstream.clock import MONOTONIC, Clock
from maskstream.errors import ConfigError, MaskStreamError, ModelError, SinkError
from maskstream.fleet.archive_progress import ArchiveProgress
from maskstream.fleet.job_progress import JobProgress, read_progress
from maskstream.fleet.jobs import Job, JobOutcome
from maskstream.fleet.manifest import Manifest
from maskstream.fleet.placement import Call, CallFailed, Placement, Worker, WorkerDied, WorkerSpec

_TURN_S: Final = 0.2
_LOOK_EVERY_S: Final = 1.0
_PLACED_S: Final = 30.0
"""After which it is logged that a worker has no machine yet."""
_IN_FLIGHT: Final = 2
"""A worker has its next file when it is done with one."""
_MOST_CRASHES: Final = 2
_MOST_FAILED_STARTS: Final = 5
_LAST_LINES: Final = 20
_BYTES_PER_GB: Final = 1e9
_EXIT_CODES: Final[Mapping[int, type[MaskStreamError]]] = {
    error.exit_code: error for error in (ConfigError, ModelError, SinkError)
}
_OF_FILE: Final = 3
"""The exit code of errors of a single file."""
_OF_MODELS: Final = ModelError.exit_code


@dataclass(frozen=True)
class Limits:
    """When a worker that does not advance is replaced."""

    load_s: float = 300.0
    """For loading the models, from when the worker has a machine."""
    still_s: float = 120.0
    """Without another frame."""
    still_s_per_gb: float = 60.0
    """Added for each gigabyte of the file, in which the next frame may be far away."""
    again_s: float = 0.5
    """Before another worker starts after one that ended while it loaded the models; doubled after each further one."""


@dataclass(frozen=True)
class Team:
    """The workers of an archive."""

    size: int
    target: str
    """The class, as `package.module:Class`."""
    arguments: Mapping[str, object]
    """Keyword arguments of the class, besides `name`."""
    gpus: float = 0.0
    """Part of a GPU that each worker reserves."""
    limits: Limits = field(default_factory=Limits)


@dataclass(eq=False)
class _WorkerState:
    """A worker, and the calls that it has not answered, in order."""

    worker: Worker
    loading: Call | None
    """The call that is answered when the models are loaded."""
    changed_at_s: float
    """When it last advanced."""
    report_at_s: float
    """When it is reported that no machine has room for it."""
    calls: deque[tuple[Job, Call]] = field(default_factory=deque)
    progress: JobProgress | None = None
    looked_at_s: float = 0.0
    stuck: str = ""
    """Why it was killed; empty otherwise."""

    @property
    def name(self) -> str:
        return self.worker.spec.name


class ArchiveLoop:
    """Runs jobs on workers until each is done, failed or quarantined. The largest files come first.

    A job whose worker ends is tried once more. A worker that ends is replaced.
    """

    def __init__(
        self,
        placement: Placement,
        manifest: Manifest,
        team: Team,
        progress: ArchiveProgress,
        clock: Clock = MONOTONIC,
    ) -> None:
        """Begin without workers.

        Args:
            placement: Where the workers run.
            manifest: Gets each change of the state of a job.
            team: How many workers, and which.
            progress: Is told about files and workers.
            clock: Measures how long a worker does not advance.
        """
        self._placement = placement
        self._manifest = manifest
        self._archive = manifest.path.parent
        self._team = team
        self._progress = progress
        self._clock = clock
        self._prefix = f"archive-{os.urandom(4).hex()}"
        self._started = self._failed_starts = 0
        self._start_at_s = clock.now_s()
        """When the next worker may start."""
        self._waiting: deque[Job] = deque()
        self._workers: list[_WorkerState] = []
        self._stop_requested = False

    def stop(self) -> None:
        """Let `run` return soon. May be called from a signal handler."""
        self._stop_requested = True

    def run(self, jobs: Sequence[Job]) -> bool:
        """Run jobs, and return whether all of them were run; False where `stop` was called.

        Raises:
            ConfigError: A machine does not fit to the command.
            ModelError: The models cannot be loaded.
            SinkError: A result or the manifest cannot be written.
        """
        self._waiting.extend(sorted(jobs, key=lambda job: (-job.size_bytes, job.path)))
        while self._waiting or any(state.calls for state in self._workers):
            if self._stop_requested:
                return False
            self._start_workers()
            self._send()
            calls = [call for state in self._workers for call in self._calls_of(state)]
            done = self._placement.wait(calls, _TURN_S)
            for state in tuple(self._workers):
                self._take(state, done)
                self._watch(state)
            self._progress.update()
        return True

    def _start_workers(self) -> None:
        """Start as many workers as there are files for."""
        if self._clock.now_s() < self._start_at_s:
            return
        busy = sum(bool(state.calls) for state in self._workers)
        wanted = min(self._team.size, busy + len(self._waiting))
        while len(self._workers) < wanted:
            self._started += 1
            name = f"{self._prefix}-{self._started}"
            arguments = {**self._team.arguments, "name": name}
            worker = self._placement.start(WorkerSpec(name, self._team.target, arguments, gpus=self._team.gpus))
            now_s = self._clock.now_s()
            self._workers.append(_WorkerState(worker, worker.call("ready"), now_s, now_s + _PLACED_S))

    def _send(self) -> None:
        """Send files to workers. A worker gets a second one only while there are enough for all."""
        for held in range(_IN_FLIGHT):
            for state in self._workers:
                enough = len(self._waiting) >= (self._team.size if held else 1)
                if enough and state.loading is None and len(state.calls) == held and not state.stuck:
                    job = self._waiting.popleft()
                    self._manifest.started(job.job_id, state.name)
                    if not state.calls:
                        state.changed_at_s = self._clock.now_s()
                    state.calls.append((job, state.worker.call("analyse", job)))
                    self._progress.sent(state.name, job.path, job.size_bytes)

    def _calls_of(self, state: _WorkerState) -> list[Call]:
        return [*([] if state.loading is None else [state.loading]), *(call for _, call in state.calls)]

    def _take(self, state: _WorkerState, done: Sequence[Call]) -> None:
        """Take the answers of a worker, in order."""
        try:
            if state.loading in done:
                self._loaded(state)
            while state.calls and state.calls[0][1] in done:
                job, call = state.calls[0]
                outcome: JobOutcome | CallFailed
                try:
                    outcome = call.result(0)
                except CallFailed as failed:
                    outcome = failed
                state.calls.popleft()
                state.changed_at_s = self._clock.now_s()
                self._finish(state, job, outcome)
        except WorkerDied as died:
            self._lose(state, died)

    def _loaded(self, state: _WorkerState) -> None:
        """Note that a worker has loaded its models."""
        assert state.loading is not None
        try:
            state.loading.result(0)
        except CallFailed as failed:
            raise _error(failed) from None
        state.loading, self._failed_starts = None, 0

    def _finish(self, state: _WorkerState, job: Job, outcome: JobOutcome | CallFailed) -> None:
        """Note the result of a job, or why there is none."""
        if isinstance(outcome, JobOutcome):
            self._manifest.done(job.job_id, outcome.seconds, outcome.video_s)
            self._progress.done(state.name, job.path, outcome.video_s)
        elif outcome.exit_code == _OF_FILE:
            self._manifest.failed(job.job_id, outcome.reason)
            self._progress.failed(job.path)
            logger.error("{}", outcome.reason)
        elif outcome.exit_code in (None, _OF_MODELS):  # an internal error, or too little memory for this file
            self._crashed(job, outcome.reason, outcome.traceback.splitlines()[-_LAST_LINES:])
        else:
            self._manifest.waits(job.job_id)
            raise _error(outcome)

    def _lose(self, state: _WorkerState, died: WorkerDied) -> None:
        """Replace a worker that has ended. The file that it analysed has one crash more; a second file was not begun."""
        self._workers.remove(state)
        state.worker.end()
        progress = read_progress(self._archive, state.name)
        self._progress.lost(state.name)
        reason = state.stuck or died.reason
        logger.warning("{}: {}; another worker goes on", state.name, reason)
        if state.loading is not None:
            self._failed_starts += 1
            self._start_at_s = self._clock.now_s() + self._team.limits.again_s * 2 ** (self._failed_starts - 1)
            if self._failed_starts == _MOST_FAILED_STARTS:
                last = next((line for line in reversed(died.last_lines) if line.strip()), "it has written nothing")
                raise ModelError(f"workers end while they load the models: {reason}; the last line of the last one: {last}")
        jobs = [job for job, _ in state.calls]
        begun = progress is not None and next((job for job in jobs if job.job_id == progress.job_id), None)
        for job in reversed(jobs):
            if job is (begun or jobs[0]):
                self._crashed(job, reason, died.last_lines)
            else:
                self._manifest.waits(job.job_id)
                self._waiting.appendleft(job)

    def _crashed(self, job: Job, reason: str, last_lines: Sequence[str]) -> None:
        """Try a job that has ended its worker again, or quarantine it."""
        crashes = self._manifest.crashed(job.job_id, reason, last_lines)
        if crashes < _MOST_CRASHES:
            logger.warning("{}: is tried once more: {}", job.path, reason)
            self._waiting.appendleft(job)
            return
        self._manifest.quarantined(job.job_id)
        self._progress.failed(job.path)
        logger.error("{}: quarantined, as its analysis was ended {} times: {}", job.path, crashes, reason)

    def _watch(self, state: _WorkerState) -> None:
        """Kill a worker that has not advanced for too long. Its calls then say that it died."""
        if state.stuck or not (state.loading or state.calls):
            return
        now_s, limits = self._clock.now_s(), self._team.limits
        if state.loading is not None:
            limit_s = limits.load_s
            if state.worker.node() is None:
                state.changed_at_s = now_s
                if now_s > state.report_at_s:
                    state.report_at_s = inf
                    needs = f" and {self._team.gpus:g} of a GPU" if self._team.gpus else ""
                    logger.warning("{}: waits for a machine with a free core{}", state.name, needs)
        else:
            limit_s = limits.still_s + limits.still_s_per_gb * state.calls[0][0].size_bytes / _BYTES_PER_GB
            self._look(state, now_s)
        if now_s - state.changed_at_s > limit_s:
            state.stuck = f"it has not advanced for {limit_s:.0f} s"
            state.worker.end()

    def _look(self, state: _WorkerState, now_s: float) -> None:
        """Read how far a worker is, once a second."""
        if now_s - state.looked_at_s < _LOOK_EVERY_S:
            return
        state.looked_at_s = now_s
        progress = read_progress(self._archive, state.name)
        if progress is None or progress == state.progress:
            return
        state.progress, state.changed_at_s = progress, now_s
        self._progress.advanced(state.name, progress.video_s, progress.share)


def _error(failed: CallFailed) -> MaskStreamError:
    """Return the error of a worker as one of this process. An internal error is raised with its traceback in the message."""
    kind = _EXIT_CODES.get(failed.exit_code or 0)
    if kind is None:
        raise RuntimeError(f"{failed.reason}\n{failed.traceback}")
    return kind(failed.reason)
