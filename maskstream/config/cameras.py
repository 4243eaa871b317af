"""Read the cameras and other sources of `--source`, including YAML lists of cameras with settings of their own."""

import os
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from loguru import logger

from maskstream.config.environment import expand
from maskstream.config.loading import Layer, read_yaml, read_yaml_text, refine, text_keys
from maskstream.config.schema import AlignConfig, Config, NetworkConfig, VideoConfig, WebcamConfig
from maskstream.errors import ConfigError, MaskStreamError, SourceOpenError
from maskstream.io.batches import Batch, Turns
from maskstream.io.files import one_line
from maskstream.io.folders import VIDEO_SUFFIXES, Found, find_files
from maskstream.io.image_formats import IMAGE_SUFFIXES
from maskstream.io.locations import is_folder_or_pattern, is_pattern, may_come_back, pipe_identity, plain_location, source_name
from maskstream.redaction import redact

_YAML_SUFFIXES: Final = (".yaml", ".yml")
PER_CAMERA: Final[dict[str, tuple[str, ...]]] = {
    "detector": ("min_score", "min_face_px", "max_faces", "region", "motion", "motion_threshold", "idle_s"),
    "classifier": ("incorrect_as", "max_background"),
    "align": tuple(AlignConfig.model_fields),
    "webcam": tuple(WebcamConfig.model_fields),
    "network": tuple(NetworkConfig.model_fields),
    "video": tuple(VideoConfig.model_fields),
    "events": ("labels", "min_seconds", "min_evidence", "update_s"),
    "privacy": ("blur", "store_crops"),
}
_OPENED_WITH: Final = ("network", "webcam", "video")
"""Sections that a source and its recording are opened with. A change reopens both; other changes apply while they run."""
NAMED_SECTIONS: Final = ("zones",)
"""Sections whose keys are chosen by the user."""
_KNOWN_SUFFIXES: Final = (
    f"images end in {', '.join(IMAGE_SUFFIXES[:4])} or similar, videos in {', '.join(VIDEO_SUFFIXES[:6])} or similar"
)
_EXAMPLE: Final = "see configs/cameras.yaml"


@dataclass(frozen=True)
class Camera:
    """A source of `--source`."""

    name: str
    """Its name in records and file names, without passwords; unique in a run."""
    location: str
    """Index, path or URL, with its password."""
    config: Config
    """The configuration, with the settings of the camera merged over it."""
    batch: Batch | None = field(default=None, compare=False)
    """The batch of the videos of its folder or pattern; None for other sources."""
    images: tuple[str, ...] | None = field(default=None, compare=False)
    """The images of its folder or pattern; None for other sources."""
    epoch: int = 0
    """The number of its assignment to this machine in a fleet. With another number it is opened again: records belong to one
    assignment. 0 without a fleet."""

    def __repr__(self) -> str:
        return f"Camera({self.name!r}, {redact(self.location)!r})"

    @property
    def may_come_back(self) -> bool:
        """Whether the source is reconnected when it is lost: a URL or a webcam. The thread that reads it also opens it."""
        return may_come_back(self.location)

    def opens_like(self, other: "Camera") -> bool:
        """Return whether two cameras open the same source with the same settings, for the same assignment."""
        return (self.location, self.epoch) == (other.location, other.epoch) and all(
            getattr(self.config, section) == getattr(other.config, section) for section in _OPENED_WITH
        )


@dataclass(frozen=True)
class CameraEntry:
    """A checked entry of a list of cameras. Environment variables in its URL are not replaced yet."""

    name: str
    url: str = field(repr=False)
    origin: str
    """The list, number and name of the camera, for messages."""
    config: Config
    """The configuration, with the settings of the camera merged over it."""
    overridden: tuple[str, ...] = ()
    """The settings that the command line overrides, with both values."""

    def camera(self) -> Camera:
        """Return the camera, with environment variables replaced.

        Raises:
            ConfigError: A variable is not set.
        """
        return Camera(self.name, plain_location(expand(self.url, self.origin)), self.config)


def read_cameras(
    locations: Iterable[str],
    config: Config,
    command_line: Sequence[Layer] = (),
    texts: Mapping[str, str] | None = None,
) -> list[Camera]:
    """Return the cameras of `--source`, in order.

    Args:
        locations: Values of `--source`: an index, path or URL, or a YAML file with a list of cameras.
        config: The configuration of cameras without settings of their own.
        command_line: The layers of `--set` and of other options, which `config` already contains. They override a camera's own
            settings; one log line lists the overridden settings.
        texts: The content of lists that are checked before they are written; None: all lists are files.

    Raises:
        ConfigError: A list of cameras is wrong, or two cameras have the same name.
        SourceOpenError: A list does not exist.
    """
    cameras: list[Camera] = []
    all_overridden: list[str] = []
    for location in locations:
        if is_list(location):
            entries = list_entries(location, (texts or {}).get(location))
            for camera, overridden in _read_list(entries, location, config, command_line):
                cameras.append(camera)
                all_overridden += overridden
        else:
            place = plain_location(location)
            name = source_name(place)  # with a number where another source differs only in its password or token
            alike = [camera for camera in cameras if source_name(camera.location) == name and camera.location != place]
            cameras.append(Camera(f"{name} {len(alike) + 1}" if alike else name, place, config))
    turns = Turns()
    cameras = [each for camera in cameras for each in _spread(camera, turns)]
    _require_distinct(cameras)
    if all_overridden:
        logger.warning("the command line overrides the list of cameras: {}", "; ".join(all_overridden))
    return cameras


def _spread(camera: Camera, turns: Turns) -> list[Camera]:
    """Return one source for the images of a folder or pattern and one for each of its videos; other sources unchanged.

    Raises:
        SourceOpenError: The folder or pattern has neither images nor videos.
    """
    if not is_folder_or_pattern(camera.location):
        return [camera]
    found = find_files(camera.location, recursive=camera.config.pictures.recursive)
    if found is None:
        return [camera]
    if not (found.images or found.videos):
        raise SourceOpenError(f"{one_line(camera.location)}: {_why_nothing(found)}")
    found.log_left_out()
    found.log_refused()
    if not found.videos:
        return [replace(camera, images=tuple(found.images))]
    batch = Batch(camera.name, turns)
    images = [replace(camera, batch=batch, images=tuple(found.images))] if found.images else []
    names = list(found.videos)
    if camera.name != source_name(camera.location):  # a name of its own, which its videos get too
        folder = os.path.commonpath([str(Path(video).parent) for video in found.videos])
        names = [f"{camera.name}/{os.path.relpath(video, folder)}" for video in found.videos]
    return images + [Camera(name, video, camera.config, batch) for name, video in zip(names, found.videos, strict=True)]


def _why_nothing(found: Found) -> str:
    if is_pattern(found.location):
        count = len(found.others)
        return f"none of the {count} files that match is an image or video" if count else "no file matches; check the path"
    deep = find_files(found.location, recursive=True) if found.folders else None
    if deep and (deep.images or deep.videos):
        return "its images and videos are all in subfolders; add --recursive"
    if found.refused:
        return f"cannot be read: {found.refused[0].strerror}; check its permissions"
    return f"no image or video in this folder; {_KNOWN_SUFFIXES}"


def _require_distinct(cameras: Iterable[Camera]) -> None:
    """Refuse two sources of the same name, and two that read one pipe: each would receive parts of the data."""
    for name, count in Counter(camera.name for camera in cameras).items():
        if count > 1:
            raise ConfigError(f"{name}: given twice; give each source once, and each camera a name of its own")
    read: dict[Hashable, str] = {}
    for camera in cameras:
        identity = pipe_identity(camera.location)
        if identity in read:
            raise ConfigError(f"{camera.name}: this pipe is also read by {read[identity]}; give each source a pipe of its own")
        if identity is not None:
            read[identity] = camera.name


def is_list(location: str) -> bool:
    """Return whether a value of `--source` is a list of cameras."""
    return "://" not in location and Path(location).suffix.lower() in _YAML_SUFFIXES


def list_entries(path: str, text: str | None = None, as_typed: Collection[str] = ()) -> list[Any]:
    """Return the entries of a list of cameras, without checking them.

    Args:
        path: The file.
        text: The content of the file; None: it is read.
        as_typed: More keys whose values stay text, see `parse_yaml`.

    Raises:
        ConfigError: It is not a list, or an empty one.
        SourceOpenError: The file does not exist.
    """
    if text is not None:
        entries = read_yaml_text(text, path, {*text_keys(), *as_typed})
    elif os.path.exists(path):  # noqa: PTH110 (Path raises without permission)
        entries = read_yaml(Path(path), {*text_keys(), *as_typed})
    else:
        raise SourceOpenError(f"{path}: no such file; check the path")
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{path}: not a list of cameras; {_EXAMPLE}")
    return entries


def list_problems(path: str, config: Config, command_line: Sequence[Layer] = ()) -> list[MaskStreamError]:
    """Return the errors of all entries of a list, one for each wrong entry.

    Args:
        path: The file.
        config: The configuration of cameras without settings of their own.
        command_line: The layers that override a camera's own settings.
    """
    try:
        entries = list_entries(path)
    except MaskStreamError as error:
        return [error]
    problems: list[MaskStreamError] = []
    for number, entry in enumerate(entries, 1):
        try:
            read_camera(entry, f"{path}: camera {number}", config, command_line)
        except MaskStreamError as error:
            problems.append(error)
    return problems


def _read_list(
    entries: Iterable[Any], path: str, config: Config, command_line: Sequence[Layer]
) -> Iterator[tuple[Camera, tuple[str, ...]]]:
    for number, entry in enumerate(entries, 1):
        yield read_camera(entry, f"{path}: camera {number}", config, command_line)


def read_camera(entry: Any, origin: str, config: Config, command_line: Sequence[Layer]) -> tuple[Camera, tuple[str, ...]]:
    """Return the camera of an entry, and its settings that the command line overrides; see `check_entry`.

    Raises:
        ConfigError: The entry is wrong, or an environment variable is not set.
    """
    checked = check_entry(entry, origin, config, command_line)
    return checked.camera(), checked.overridden


def check_entry(entry: Any, origin: str, config: Config, command_line: Sequence[Layer] = ()) -> CameraEntry:
    """Check an entry of a list of cameras. Environment variables are not replaced, and need not be set.

    Args:
        entry: The entry, as it is in the file.
        origin: The file and the number of the entry, for messages.
        config: The configuration of cameras without settings of their own.
        command_line: The layers that override the camera's own settings; `config` already contains them.

    Raises:
        ConfigError: A key or value is wrong.
    """
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{origin}: expected name and url; {_EXAMPLE}")
    settings = dict(entry)
    texts: list[str] = []
    for key in ("name", "url"):
        text = settings.pop(key, None)
        if not isinstance(text, str) or not text.strip():
            raise ConfigError(f"{origin}: {key} is missing or not text; {_EXAMPLE}")
        texts.append(text.strip())
    name, url = texts
    origin = f"{origin} ({name})"
    _refuse_common(settings, origin)
    requested = refine(config, Layer(origin, settings))
    effective = refine(requested, *command_line)
    differences = _differences(settings, requested.model_dump(), effective.model_dump())
    return CameraEntry(name, url, origin, effective, tuple(f"{name}: {difference}" for difference in differences))


def _differences(
    settings: Mapping[str, Any], requested: Mapping[str, Any], effective: Mapping[str, Any], at: str = ""
) -> Iterator[str]:
    """Yield the settings whose value differs from the requested one, with both values."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and isinstance(effective[key], Mapping):
            yield from _differences(value, requested[key], effective[key], f"{at}{key}.")
        elif requested[key] != effective[key]:
            yield f"{at}{key} is {effective[key]}, not {requested[key]}"


def _refuse_common(settings: Mapping[str, Any], origin: str) -> None:
    """Refuse settings that all cameras share."""
    for section, values in settings.items():
        if section in NAMED_SECTIONS:
            continue
        keys = values if isinstance(values, Mapping) else {section: values}
        refused = next((key for key in keys if key not in PER_CAMERA.get(section, ())), None)
        if refused is not None:
            allowed = ", ".join([*(f"{known}.{key}" for known, keys in PER_CAMERA.items() for key in keys), *NAMED_SECTIONS])
            key = section if refused == section else f"{section}.{refused}"
            raise ConfigError(f"{origin}: {key} cannot be set for one camera; allowed: {allowed}")
