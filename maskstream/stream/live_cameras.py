"""Add, change and remove the cameras of a run when its list of cameras is edited."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import Protocol

from loguru import logger

from maskstream.config.cameras import Camera
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.errors import MaskStreamError
from maskstream.protocols import Source
from maskstream.stream.sink_group import SinkBinding
from maskstream.stream.source_states import SourceStates
from maskstream.stream.states import SourceStatus


class Watch(Protocol):
    """Tells which cameras are wanted."""

    ends: bool
    """Whether the run ends after the last source. Otherwise it waits for further cameras."""

    def poll(self) -> list[Camera] | None:
        """Return all wanted cameras; None where nothing has changed since the last call."""
        ...


class Stream(Protocol):
    """The part of the engine that adds and removes sources."""

    def add(self, sources: Sequence[Source], sinks: Sequence[SinkBinding]) -> None:
        """Take over opened sources and sinks."""
        ...

    def remove(self, source_id: str, cause: str) -> None:
        """Remove a source."""
        ...

    def expect(self, more: bool) -> None:
        """Set whether more sources will be added."""
        ...


@dataclass(frozen=True)
class Opened:
    """An opened source and the sinks of its annotated frames."""

    source: Source
    sinks: tuple[SinkBinding, ...] = ()

    def close(self) -> None:
        """Close the source and the sinks."""
        with ExitStack() as closing:
            closing.callback(self.source.close)
            for binding in self.sinks:
                closing.callback(binding.sink.close)


@dataclass(frozen=True)
class CameraWork:
    """The steps for a camera that is added or changed. Each raises `MaskStreamError` where it fails."""

    check: Callable[[Config], None]
    """Checks, without delay, whether the models have the classes that these settings need."""
    prepare: Callable[[Config], None]
    """Makes the models ready for these settings. Like `open`, it is called in a thread that the stream does not wait for."""
    open: Callable[[Camera, SourceStatus], Opened]


@dataclass(eq=False)
class _Job:
    """Opens a camera in a thread of its own, or makes the models ready for a running one."""

    camera: Camera
    work: Callable[[], Opened | None]
    """Returns what was opened; None for a running camera."""
    opens: bool
    future: "Future[Opened | None]" = field(default_factory=Future)
    _lock: Lock = field(default_factory=Lock)
    _is_abandoned: bool = False

    def run(self) -> None:
        """Do the work in the thread of the job. What it opens is closed where the job was abandoned meanwhile."""
        try:
            opened = self.work()
        except BaseException as error:  # raised again in the thread that takes over the result
            self.future.set_exception(error)
            return
        with self._lock:
            if not self._is_abandoned:
                self.future.set_result(opened)
                return
        if opened is not None:
            opened.close()

    def abandon(self) -> Thread | None:
        """Close what was opened, or will be. Returns the thread that closes it; None if the thread of the job does."""
        with self._lock:
            self._is_abandoned = True
            if not self.future.done() or self.future.exception() is not None:
                return None
        opened = self.future.result()
        if opened is None:
            return None
        thread = Thread(target=opened.close, name=f"close {self.camera.name}", daemon=True)
        thread.start()
        return thread


class LiveCameras:
    """Adds, changes and removes the cameras of a running stream after edits of their list.

    Called by the thread that renders, which never waits here: slow work is done in a thread for each camera.
    """

    def __init__(
        self,
        watch: Watch,
        cameras: Sequence[Camera],
        settings: SourceSettings,
        work: CameraWork,
        states: SourceStates,
    ) -> None:
        """Begin with the running cameras.

        Args:
            watch: Tells which cameras are wanted, as a list does after an edit.
            cameras: The running cameras.
            settings: Where the settings of a camera that is added, changed or removed are kept.
            work: The steps for a camera.
            states: The states of all sources.
        """
        self._watch = watch
        self._running = {camera.name: camera for camera in cameras}
        """The cameras in the stream, also those that have ended."""
        self._wanted = dict(self._running)
        """The cameras in the list, without those that could not be opened: these are tried again after the next edit."""
        self._settings = settings
        self._work = work
        self._states = states
        self._jobs: dict[str, _Job] = {}
        self._threads: list[Thread] = []

    def maintain(self, stream: Stream) -> None:
        """Take over finished jobs, and begin jobs for what has changed in the list."""
        self._take_over(stream)
        cameras = self._watch.poll()
        if cameras is None:
            return
        stream.expect(True)  # between a removal and an addition the stream may have no source
        wanted = {camera.name: camera for camera in cameras}
        for name in [name for name in {**self._running, **self._wanted} if name not in wanted]:
            self._remove(stream, name, "removed from the list of cameras")
        for camera in cameras:
            if self._wanted.get(camera.name) != camera:
                self._change(stream, camera)
        self._take_over(stream)

    def leave(self) -> list[Thread]:
        """Abandon unfinished jobs, and return their threads."""
        for name in list(self._jobs):
            self._abandon(name)
        return self._threads

    def _change(self, stream: Stream, camera: Camera) -> None:
        """Apply the settings of a running camera, or begin to open a camera."""
        running = self._running.get(camera.name)
        if running is None or not running.opens_like(camera):
            if running is not None or camera.name in self._jobs:
                self._remove(stream, camera.name, "changed in the list of cameras")
            status = self._states.status(camera.name, quiet=not camera.may_come_back)
            self._begin(_Job(camera, lambda: self._opened(camera, status), opens=True))
        else:
            self._abandon(camera.name)
            self._apply(camera)

    def _apply(self, camera: Camera) -> None:
        """Apply the settings of a running camera now. A higher `detector.max_faces` has to wait for the models."""
        try:
            self._work.check(camera.config)
        except MaskStreamError as error:
            logger.error("{}: {}; its settings are unchanged", camera.name, error)
            self._wanted[camera.name] = self._running[camera.name]
            return
        self._configure(camera)
        logger.info("{}: the changed settings apply from now on", camera.name)
        self._begin(_Job(camera, lambda: self._work.prepare(camera.config), opens=False))

    def _configure(self, camera: Camera) -> None:
        self._settings.set(camera.name, camera.config)
        self._running[camera.name] = camera

    def _opened(self, camera: Camera, status: SourceStatus) -> Opened:
        self._work.check(camera.config)
        self._work.prepare(camera.config)
        return self._work.open(camera, status)

    def _begin(self, job: _Job) -> None:
        self._wanted[job.camera.name] = job.camera
        self._jobs[job.camera.name] = job
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._threads.append(Thread(target=job.run, name=f"opening {job.camera.name}", daemon=True))
        self._threads[-1].start()

    def _abandon(self, name: str) -> None:
        job = self._jobs.pop(name, None)
        closing = job and job.abandon()
        if closing:
            self._threads.append(closing)

    def _remove(self, stream: Stream, name: str, cause: str) -> None:
        self._abandon(name)
        self._wanted.pop(name, None)
        self._running.pop(name, None)
        stream.remove(name, cause)
        self._settings.remove(name)  # last: its events end as its own settings say

    def _take_over(self, stream: Stream) -> None:
        for name, job in list(self._jobs.items()):
            if job.future.done():
                del self._jobs[name]
                self._use(stream, job)
        stream.expect(not self._watch.ends or any(job.opens for job in self._jobs.values()))

    def _use(self, stream: Stream, job: _Job) -> None:
        camera = job.camera
        try:
            opened = job.future.result()
        except MaskStreamError as error:
            self._do_without(stream, job, error)
            return
        except Exception as error:  # an internal error with one camera must not stop the others
            logger.opt(exception=error).error("{}: internal error; please report it", camera.name)
            self._do_without(stream, job, error)
            return
        if opened is not None:
            self._configure(camera)
            stream.add([opened.source], opened.sinks)

    def _do_without(self, stream: Stream, job: _Job, error: Exception) -> None:
        name = job.camera.name
        if job.opens:
            logger.error("{}; continuing without it", error)
            self._remove(stream, name, str(error))
        else:
            logger.error("{}: {}; the detector finds as many faces as before", name, error)
            self._wanted.pop(name, None)
