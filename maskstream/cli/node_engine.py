"""Run the engine of a node in a thread, and build another one after a failure or with other settings."""

from collections.abc import Sequence
from threading import Event, Lock, Thread
from typing import Final

from loguru import logger

from maskstream.cli.node_build import BuiltEngine, NodeParts, build_node_engine
from maskstream.errors import MaskStreamError
from maskstream.fleet.agent import EngineReport, NodeSettings
from maskstream.fleet.wire import Assignment

_FIRST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 30.0
_HANGS_S: Final = 10.0
_LOADING: Final = "the models are being loaded"


class NodeEngine:
    """The engine of a node: `maskstream.fleet.agent.NodeWork`. A failed engine is built again after 1 s, 2 s ... 30 s."""

    def __init__(self, parts: NodeParts) -> None:
        """Begin without an engine; the first `apply` starts it."""
        self._parts = parts
        self._clock = parts.clock
        self._lock = Lock()
        self._settings: NodeSettings | None = None
        self._assignments: tuple[Assignment, ...] = ()
        self._built: BuiltEngine | None = None
        self._problem = _LOADING
        self._is_ending = False
        self._changed = Event()
        """Set where the engine has to end: the settings are others, or the node ends."""
        self._thread = self._new_thread()

    def apply(self, settings: NodeSettings, assignments: Sequence[Assignment]) -> None:
        """Watch these cameras with these settings from now on. Other settings build another engine."""
        with self._lock:
            if self._is_ending:
                return
            before, self._settings = self._settings, settings
            self._assignments = tuple(assignments)
            if self._built is not None:
                self._built.cameras.assign(self._assignments)
        if before is None:
            self._thread.start()
        elif before != settings:
            logger.info("the settings have changed: the engine starts again")
            self._end_engine()

    def stop(self) -> None:
        """Begin to end: open events end with cause `stopped`. Returns at once; a second call does nothing."""
        with self._lock:
            self._is_ending = True
        self._end_engine()

    def resume(self) -> None:
        """Begin anew after `stop`, where the engine has ended: the next `apply` starts it. Otherwise do nothing."""
        with self._lock:
            if not self._is_ending or self._thread.is_alive():
                return
            self._settings, self._assignments, self._is_ending = None, (), False
            self._thread = self._new_thread()

    def _new_thread(self) -> Thread:
        return Thread(target=self._run, name="engine", daemon=True)

    def _end_engine(self) -> None:
        self._changed.set()
        with self._lock:
            built = self._built
        if built is not None:
            built.engine.stop()

    def report(self) -> EngineReport:
        """Return what the engine does; nothing after it has ended."""
        with self._lock:
            built, assignments, problem = self._built, self._assignments, self._problem
        if self._is_ending and not self._thread.is_alive():
            return EngineReport()
        opened = self._parts.opened
        if built is None:
            failures = {each.camera: problem for each in assignments if problem != _LOADING}
            return EngineReport(opened.healths(assignments, {}, failures, 1), problems=(problem,))
        progress = built.engine.progress()
        built.capacity.update(self._clock.now_s(), progress.batch_frames, progress.model_s)
        sources = {health.source_id: health for health in built.engine.health()}
        failures = {**self._parts.failures, **built.cameras.refused()}
        cameras = opened.healths(assignments, sources, failures, built.config.stream.stride)
        if progress.render_age_s > _HANGS_S:
            hangs = f"the engine has made no progress for {progress.render_age_s:.0f} s"
            return EngineReport(cameras, problems=(hangs,), versions=built.versions)
        return EngineReport(cameras, built.capacity.fps, built.capacity.busy, versions=built.versions)

    def _run(self) -> None:
        """Build and run engines until `stop`."""
        failures = 0
        while not self._is_ending:
            self._changed.clear()
            began_s = self._clock.now_s()
            problem = self._run_once()
            if self._changed.is_set():
                continue
            if self._clock.now_s() - began_s > 2 * _LONGEST_WAIT_S:
                failures = 0
            wait_s = min(_FIRST_WAIT_S * 2**failures, _LONGEST_WAIT_S)
            failures = min(failures + 1, 10)
            logger.error("the engine failed: {}; it starts again in {:.0f} s", problem, wait_s)
            with self._lock:
                self._problem = problem
            self._clock.wait(self._changed, wait_s)

    def _run_once(self) -> str:
        """Run one engine to its end, and return why it ended."""
        try:
            with self._lock:
                settings = self._settings or NodeSettings()
            built = build_node_engine(settings, self._parts)
            with self._lock:
                self._built = built
                built.cameras.assign(self._assignments)
            if self._changed.is_set():  # asked to end before there was an engine
                built.engine.stop()
            built.engine.run()
        except MaskStreamError as error:  # of a camera or the models
            return str(error)
        except Exception as error:  # the agent has to report it, and to build another engine
            logger.opt(exception=error).error("internal error of the engine; please report it")
            return f"internal error, {error!r:.200}; please report it"
        finally:
            with self._lock:
                self._built, self._problem = None, _LOADING
        return "it ended"
