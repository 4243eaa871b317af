"""Connect loaded models with an engine: the part that a run, an agent of a fleet and a worker of an archive share."""

from dataclasses import dataclass
from functools import partial
from importlib import import_module
from threading import Thread

from maskstream.cli.opening import open_camera
from maskstream.config.source_settings import SourceSettings
from maskstream.inference.analyzer import Analyzer
from maskstream.inference.pipeline import batch_size_of, build_analyzer, require_incorrect, require_models
from maskstream.inference.propagation import PropagatingAnalyzer
from maskstream.io.file_names import FileNames
from maskstream.rendering.overlay import Overlay
from maskstream.stream.engine import Engine, EngineHooks
from maskstream.stream.live_cameras import CameraWork
from maskstream.stream.source_states import SourceStates
from maskstream.tracking.analyzer import PeopleAnalyzer


def load_models(settings: SourceSettings, *, several: bool) -> Analyzer:
    """Load the models. Meanwhile a thread imports the tracker, which takes a second.

    Args:
        settings: The models, and the thresholds of each source.
        several: Whether most batches will have several frames.

    Raises:
        ConfigError: The device or the name of a model is unknown.
        ModelError: A model cannot be loaded.
    """
    require_models(settings.common)
    if settings.common.tracking.enabled:
        Thread(target=import_module, args=("maskstream.tracking.tracker",), daemon=True).start()
    return build_analyzer(settings, several=several)


@dataclass(frozen=True)
class Assembly:
    """Loaded models, and the settings and states of the sources that they are used for."""

    analyzer: Analyzer
    settings: SourceSettings
    states: SourceStates

    def engine(self, hooks: EngineHooks) -> Engine:
        """Return an engine without sources and sinks."""
        config = self.settings.common
        people = PeopleAnalyzer(PropagatingAnalyzer(self.analyzer, self.settings), self.settings)
        return Engine(people, Overlay(self.settings).paint, config.stream, batch_size_of(config), hooks, self.states)

    def camera_work(self, output: str | None, names: FileNames) -> CameraWork:
        """Return the steps for a camera that is added to the engine.

        Args:
            output: The folder of all annotated frames; None for none.
            names: The file names in this folder that are taken.
        """
        return CameraWork(
            check=lambda config: require_incorrect(self.analyzer.class_names, [config]),
            prepare=self.analyzer.admit,
            open=partial(open_camera, states=self.states, output=output, names=names),
        )
