"""Find the video files that a command names for an archive."""

import os
from collections.abc import Sequence

from loguru import logger

from maskstream.config.cameras import Camera, is_list, read_cameras
from maskstream.config.loading import Layer
from maskstream.config.schema import Config
from maskstream.errors import ConfigError, SourceOpenError
from maskstream.fleet.commits import is_result_video
from maskstream.io.locations import is_folder_or_pattern, location_kind, plain_location


def archive_files(inputs: Sequence[str], config: Config, command_line: Sequence[Layer] = ()) -> list[Camera]:
    """Return the video files of `--input`, with their settings. Images, and the videos in an archive's results, are left out.

    Args:
        inputs: Files, folders, patterns, and YAML lists of them with settings of their own, as a list of cameras.
        config: The configuration of files without settings of their own.
        command_line: The layers of the command line, which `config` contains.

    Raises:
        ConfigError: An input is a camera, a stream or an image, or a list is wrong.
        SourceOpenError: A file does not exist, or there is no video.
    """
    for given in inputs:
        if not is_list(given):
            _require_files(given, plain_location(given))
    found = read_cameras(inputs, config, command_line)
    for camera in found:
        if camera.batch is None and camera.images is None:
            _require_files(camera.name, camera.location)
    images = sum(len(camera.images or ()) for camera in found)
    if images:
        logger.info("{} images are left out; maskstream run reads images", images)
    videos = [camera for camera in found if camera.images is None and not is_result_video(camera.location)]
    if not videos:
        raise SourceOpenError(f"{', '.join(inputs)}: no video; give video files, or a folder or pattern that has some")
    return videos


def _require_files(name: str, location: str) -> None:
    """Refuse what is neither a file, a folder nor a pattern.

    Raises:
        ConfigError: It is a camera, a stream, a pipe or an image.
        SourceOpenError: The file does not exist.
    """
    if is_folder_or_pattern(location):
        return
    kind = location_kind(location)
    if kind == "file" and not os.path.lexists(location):
        raise SourceOpenError(f"{name}: no such file; check the path")
    if kind != "file":
        what = "an image" if kind == "images" else "a camera, a stream or a pipe"
        raise ConfigError(f"{name}: is {what}, and an archive has video files; maskstream run reads it")
