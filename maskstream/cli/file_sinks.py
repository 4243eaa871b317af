"""Open the outputs of a run or of an archive's file: records, events, the summary and annotated video."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from loguru import logger

from maskstream.cli.opening import image_sink
from maskstream.cli.reporting import Reporting
from maskstream.cli.request import StreamRequest
from maskstream.config.cameras import Camera
from maskstream.config.schema import Config
from maskstream.io.files import make_folder
from maskstream.protocols import Sink, Source
from maskstream.sinks import CsvSink, JsonlSink, StatusSink
from maskstream.stream.sink_group import SinkBinding
from maskstream.types import SourceInfo


@dataclass(frozen=True)
class Inputs:
    """The cameras of a run, their opened sources, and where the annotated frames of each go."""

    cameras: Sequence[Camera]
    sources: Sequence[Source]
    targets: Sequence[str]
    """Empty without `--output`."""

    @property
    def infos(self) -> list[SourceInfo]:
        """What is known of each source now."""
        return [source.info for source in self.sources]

    def latest_info(self, source_id: str) -> SourceInfo | None:
        """Return what is known of a source now: files of a folder are opened during the run."""
        return next((info for info in self.infos if info.source_id == source_id), None)


@dataclass(frozen=True)
class OpenSinks:
    """The sinks of a run. Until the run takes them over, `closing` closes them."""

    closing: ExitStack
    bindings: list[SinkBinding] = field(default_factory=list)

    def add(self, sink: Sink, source_id: str | None = None) -> None:
        """Take over a sink for the frames of one source, or of all."""
        self.closing.callback(close_quietly, sink)
        self.bindings.append(SinkBinding(sink, source_id))


def open_file_sinks(request: StreamRequest, inputs: Inputs, config: Config, reporting: Reporting, sinks: OpenSinks) -> None:
    """Open the outputs that are files, pipes or receivers of events.

    Records are opened before videos: opening a pipe waits for its reader, and an existing video must survive a run that is
    stopped meanwhile.
    """
    mode = request.mode(inputs.infos)
    if request.jsonl is not None:
        sinks.add(JsonlSink(request.jsonl, mode))
    if request.csv is not None:
        sinks.add(CsvSink(request.csv, mode, bom=config.csv.bom))
    if request.status is not None:
        sinks.add(StatusSink(request.status, mode))
    for sink in reporting.sinks(request.events, request.summary, request.console, replace=request.overwrite is True):
        sinks.add(sink)
    if request.output is not None and request.into_folder:
        make_folder(request.output)
    for target, source, camera in zip(inputs.targets, inputs.sources, inputs.cameras, strict=False):
        sinks.add(image_sink(target, source, camera), camera.name)


def close_quietly(opened: Sink | Source) -> None:
    """Close a source or sink after a failed start. The user sees the first error only."""
    try:
        opened.close()
    except Exception as error:
        logger.debug("closing {} failed: {!r}", type(opened).__name__, error)
