"""Decide where the outputs of a run go, and check them before anything is written."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from loguru import logger

from maskstream.cli.request import StreamRequest, is_live
from maskstream.config.cameras import is_list
from maskstream.config.schema import Config
from maskstream.errors import ConfigError
from maskstream.io.file_names import FileNames
from maskstream.io.locations import plain_location
from maskstream.io.output_paths import (
    image_beside,
    is_stdout,
    next_free,
    output_paths,
    require_distinct,
    require_folder,
    require_new,
    require_not_read,
    require_summary_path,
)
from maskstream.sinks import image_targets, require_image_target
from maskstream.sinks.records import require_same_columns
from maskstream.sinks.video_formats import require_recording_path, require_video_path
from maskstream.types import SourceInfo


def with_free_summary(request: StreamRequest, infos: Sequence[SourceInfo]) -> StreamRequest:
    """Return the request with a free name for the summary of cameras: an existing summary is kept, and cannot be continued."""
    if request.summary is None or request.overwrite is not None or not is_live(infos):
        return request
    free = next_free(request.summary, image_beside(request.summary).suffix)
    if free != request.summary:
        logger.info("{}: exists already; the summary goes to {}", request.summary, free)
    return replace(request, summary=free)


def checked_targets(request: StreamRequest, infos: Sequence[SourceInfo], config: Config, names: FileNames) -> list[str]:
    """Return where the annotated frames of each source go; an empty list without `--output`.

    Checks all outputs of the run, and changes no file.

    Raises:
        ConfigError: Two outputs are the same file.
        SinkError: An output cannot be written, exists already, or would replace a file that the run reads.
    """
    targets = _targets(request, infos, names)
    read = dict.fromkeys(request.reads, "a file that the run reads")
    read |= {path: "the list of cameras" for path in request.sources if is_list(path)}
    read |= {path: "its own source" for info in infos for path in (info.path, *info.images) if path}
    require_not_read((*request.text_outputs, *targets), read)
    videos, images = _checked_files(request, infos, targets)
    if request.output is not None and request.into_folder:
        require_folder(request.output)
    _warn_of_copies(request, infos, targets, config)
    if request.summary is not None:
        require_summary_path(request.summary)
        require_summary_path(str(image_beside(request.summary)))
    _require_distinct(request, [*videos, *(images if len(images) == 1 else [])], [*targets, *images])
    if request.overwrite is False:
        require_new((*request.text_outputs, *videos, *images))  # a recording of a camera gets the next free name
    if request.csv is not None and request.mode(infos) == "a":
        require_same_columns(request.csv)
    return targets


def _targets(request: StreamRequest, infos: Sequence[SourceInfo], names: FileNames) -> list[str]:
    """Return where the annotated frames of each source go. The images of a folder with videos go into `--output` itself."""
    if request.output is None:
        return []
    targets = output_paths(request.output, infos, request.into_folder, names)
    if not request.in_batches or len(request.sources) > 1:
        return targets
    folder = os.path.join(request.output, "")  # noqa: PTH118 (Path would drop the slash)
    return [folder if info.images else path for path, info in zip(targets, infos, strict=True)]


def _require_distinct(request: StreamRequest, creatable: Sequence[str], others: Sequence[str]) -> None:
    """Refuse two outputs with the same path.

    Args:
        request: The text outputs, which are created for a moment, as `creatable` are: only the file system knows whether two
            names lead to the same file.
        creatable: Videos, and the only image of a run. Those whose folder does not exist yet are compared by name.
        others: Everything else. Recordings, and one of many images, are not created for the check.
    """
    in_folder = [path for path in creatable if os.path.isdir(Path(path).parent)]  # noqa: PTH112 (Path raises without permission)
    require_distinct((*request.text_outputs, *in_folder))
    taken = {os.path.abspath(path) for path in others}  # noqa: PTH100 (as above)
    for path in request.text_outputs:
        if not is_stdout(path) and os.path.abspath(path) in taken:  # noqa: PTH100 (as above)
            raise ConfigError(f"{path}: given for two outputs; give each output a name of its own")


def _checked_files(request: StreamRequest, infos: Sequence[SourceInfo], targets: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the paths of the videos of files, and of all annotated images, after a check of their names."""
    videos: list[str] = []
    images: list[str] = []
    for path, info in zip(targets, infos, strict=False):
        if info.images:
            require_image_target(path, info)
            images += [str(target) for target in image_targets(path, info).values()]
        elif info.live:
            if not request.into_folder:
                require_recording_path(path)
        else:
            if not request.into_folder:
                require_video_path(path)
            videos.append(path)
    return videos, images


def _warn_of_copies(request: StreamRequest, infos: Sequence[SourceInfo], targets: Sequence[str], config: Config) -> None:
    """Warn where the next run would read the annotated images and videos of this run from the folder of the source."""
    if request.output is not None and request.in_batches:
        folders = [(request.output, plain_location(location)) for location in request.sources]
    else:
        folders = [(path, info.path) for path, info in zip(targets, infos, strict=False) if info.images and info.path]
    for output, location in folders:
        source, into = Path(os.path.realpath(location)), Path(os.path.realpath(output))
        if source.is_dir() and (into == source or (config.pictures.recursive and source in into.parents)):
            logger.warning("{}: is in the folder of the source: the next run reads the copies too; choose another", output)
