"""Read the file of a site: its cameras, the limits of its nodes, and how cameras are placed."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, Field

from maskstream.config.cameras import check_entry, is_list, list_entries
from maskstream.config.loading import Layer, read_yaml_text, refine, text_keys
from maskstream.config.schema import Config
from maskstream.config.values import Positive, Section, Text
from maskstream.errors import ConfigError, SourceOpenError
from maskstream.io.locations import is_pattern, plain_location
from maskstream.io.user_folders import expand_home, state_folder

OnPartition: TypeAlias = Literal["go_on", "stop"]
TEXT_KEYS: Final = ("site", "cameras", "nodes", "labels")
"""Keys of a site whose values YAML must not convert, beside those of the settings."""
_EXAMPLE: Final = "see configs/site.yaml"


def _checked_name(name: str) -> str:
    if not all(letter.isalnum() or letter in "_-" for letter in name):
        raise ValueError("expected letters, digits, _ and -")
    return name


class NodeLimits(Section):
    """The limits and the labels of a node."""

    capacity_fps: Positive | None = Field(
        default=None,
        description="The maximum number of frames per second that cameras on this node may need. null: what is measured.",
    )
    labels: list[Text] = Field(
        default=[], description="Labels, which `nodes` of a camera may name in place of the node: [gpu, east]."
    )


class SiteFile(Section):
    """A site: its cameras, and how they are placed on nodes."""

    site: Annotated[Text, AfterValidator(_checked_name)] = Field(
        default="site", description="The name of the site: letters, digits, _ and -."
    )
    cameras: list[Any] = Field(
        default=[],
        description=(
            "The cameras: lists of cameras (paths are relative to the folder of this file), or single cameras as in a "
            "list, which may name the nodes or labels that they may be placed on: {name: gate, url: ..., nodes: [east]}."
        ),
    )
    nodes: dict[Text, NodeLimits] = Field(
        default={},
        description=(
            "The limits of nodes by name: {east: {capacity_fps: 40, labels: [gpu]}}. Nodes that are not named have no "
            "limits. Where nodes are named, cameras may only name these and their labels."
        ),
    )
    lease_s: Annotated[float, Field(ge=2, le=600)] = Field(
        default=10.0,
        description=(
            "The time, in seconds, without contact between the supervisor and a node, after which the node is lost. Its "
            "cameras are placed on other nodes 5 s later."
        ),
    )
    on_partition: OnPartition = Field(
        default="go_on",
        description=(
            "What a node does that has had no contact to the supervisor for lease_s. go_on: analyse on, and deliver the "
            "records later. stop: close its cameras until there is contact."
        ),
    )
    max_moves_per_minute: Annotated[int, Field(ge=0)] = Field(
        default=4,
        description=(
            "The maximum number of cameras that are moved from one running node to another within 60 s. Cameras of lost nodes "
            "and new cameras are placed at once."
        ),
    )
    analysed_fps: Positive = Field(
        default=5.0, description="The frames per second that a camera is assumed to need until this is measured."
    )
    settings: dict[str, Any] = Field(
        default={}, description="Settings for all nodes, as in a configuration file. They override --config."
    )
    folder: Text | None = Field(
        default=None,
        description=(
            "The folder for the state of the supervisor. null: maskstream/sites/NAME in $XDG_STATE_HOME (~/.local/state)."
        ),
    )


@dataclass(frozen=True)
class CameraSpec:
    """A camera of a site."""

    name: str
    """Unique in the site."""
    entry: Mapping[str, Any]
    """Its entry as in a list of cameras, with environment variables not replaced: passwords are read on the node."""
    nodes: tuple[str, ...] = ()
    """The names or labels of the nodes that it may be placed on; empty: all nodes."""


@dataclass(frozen=True)
class Site:
    """A checked site."""

    name: str
    cameras: tuple[CameraSpec, ...]
    nodes: Mapping[str, NodeLimits]
    lease_s: float
    on_partition: OnPartition
    max_moves_per_minute: int
    analysed_fps: float
    settings: Mapping[str, Any]
    """A layer of the configuration of all nodes."""
    generation: int
    """Grows with each accepted edit."""
    folder: Path
    """The folder for the state of the supervisor. It may not exist."""
    files: tuple[Path, ...] = ()
    """The file of the site and its lists of cameras."""

    def of_generation(self, generation: int) -> "Site":
        """Return the site as the edit of this number."""
        return replace(self, generation=generation)

    def names_of(self, node: str) -> frozenset[str]:
        """Return the name and the labels of a node, which `CameraSpec.nodes` may contain."""
        limits = self.nodes.get(node)
        return frozenset((node, *(limits.labels if limits else ())))


def read_site(path: Path, config: Config, command_line: Sequence[Layer] = (), generation: int = 1) -> Site:
    """Return the site of a file, with the cameras of its lists.

    Args:
        path: The file.
        config: The configuration below the settings of the site.
        command_line: The layers that override the settings of the site and of its cameras.
        generation: The number of this edit.

    Raises:
        ConfigError: A key or value is wrong, or two cameras have the same name.
        SourceOpenError: The file or a list does not exist.
    """
    values = read_yaml_text(_text_of(path), str(path), {*text_keys(), *TEXT_KEYS})
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: not a site; {_EXAMPLE}")
    file = refine(SiteFile(), Layer(str(path), values))
    effective = refine(config, Layer(f"{path}: settings", file.settings), *command_line)
    lists = _lists_of(file, path)
    cameras = [_camera(entry, origin, effective, command_line) for entry, origin in _entries(file, path)]
    _check_cameras(cameras, file, path)
    return Site(
        name=file.site,
        cameras=tuple(cameras),
        nodes=file.nodes,
        lease_s=file.lease_s,
        on_partition=file.on_partition,
        max_moves_per_minute=file.max_moves_per_minute,
        analysed_fps=file.analysed_fps,
        settings=file.settings,
        generation=generation,
        folder=_folder(file, path),
        files=(path, *lists),
    )


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the file of a site and the lists that it names, also where the site is wrong: an edit may correct it."""
    try:
        values = read_yaml_text(_text_of(path), str(path), {*text_keys(), *TEXT_KEYS})
        return path, *_lists_of(refine(SiteFile(), Layer(str(path), values)), path)
    except (ConfigError, SourceOpenError, AttributeError):
        return (path,)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise SourceOpenError(f"{path}: no such file; {_EXAMPLE}") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigError(f"{path}: cannot be read: {reason}; {_EXAMPLE}") from error


def _lists_of(file: SiteFile, path: Path) -> list[Path]:
    return [path.parent / each for each in file.cameras if isinstance(each, str)]


def _entries(file: SiteFile, path: Path) -> Iterator[tuple[Any, str]]:
    """Yield the entry of each camera, and its origin for messages."""
    for number, each in enumerate(file.cameras, 1):
        if isinstance(each, str):
            if not is_list(each):
                raise ConfigError(f"{path}: cameras: {each!r} is not allowed; expected a YAML list of cameras, or name and url")
            listed = str(path.parent / each)
            for place, entry in enumerate(list_entries(listed, as_typed=TEXT_KEYS), 1):
                yield entry, f"{listed}: camera {place}"
        else:
            yield each, f"{path}: camera {number}"


def _camera(given: Any, origin: str, config: Config, command_line: Sequence[Layer]) -> CameraSpec:
    entry = dict(given) if isinstance(given, Mapping) else given
    nodes = entry.pop("nodes", []) if isinstance(entry, dict) else []
    checked = check_entry(entry, origin, config, command_line)
    if not isinstance(nodes, list) or not all(isinstance(node, str) and node for node in nodes):
        raise ConfigError(f"{checked.origin}: nodes: {nodes!r} is not allowed; expected nodes or labels, such as [east]")
    if is_pattern(plain_location(checked.url)):
        raise ConfigError(f"{checked.origin}: url: a pattern of files is not allowed; give a camera, or use maskstream archive")
    return CameraSpec(checked.name, entry, tuple(dict.fromkeys(nodes)))


def _check_cameras(cameras: Sequence[CameraSpec], file: SiteFile, path: Path) -> None:
    if not cameras:
        raise ConfigError(f"{path}: cameras is missing or empty; {_EXAMPLE}")
    for name, count in Counter(camera.name for camera in cameras).items():
        if count > 1:
            raise ConfigError(f"{path}: {name}: given twice; give each camera a name of its own")
    known = {*file.nodes, *(label for limits in file.nodes.values() for label in limits.labels)}
    for camera in cameras:
        unknown = [node for node in camera.nodes if node not in known]
        if known and unknown:
            raise ConfigError(
                f"{path}: {camera.name}: nodes: {unknown[0]} is not allowed; allowed: {', '.join(sorted(known))} (from nodes)"
            )


def _folder(file: SiteFile, path: Path) -> Path:
    """Return the folder of the state; a relative one is relative to the folder of the file."""
    if file.folder is not None:
        return path.parent / expand_home(file.folder)
    folder = state_folder()
    if folder is None:
        raise ConfigError(f"{path}: folder is missing, and there is no home folder; set folder to a folder of yours")
    return folder / "sites" / file.site
