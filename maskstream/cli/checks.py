"""Check what a run would need, without starting it: each check yields what it has found."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from maskstream.cli.reporting import Reporting
from maskstream.cli.web import require_web_packages
from maskstream.config.cameras import Camera, is_list, list_problems, read_cameras
from maskstream.config.environment import expand
from maskstream.config.loading import Layer
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.errors import MaskStreamError, ModelError, SinkError, SourceError
from maskstream.io.locations import local_path, location_kind
from maskstream.io.output_paths import require_folder
from maskstream.io.user_folders import expand_home

_PROBES: Final = 8
"""The maximum number of cameras that are opened at the same time."""
_TRIAL_BYTES: Final = 1 << 16


class Level(StrEnum):
    """What a finding means."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """The result of a check."""

    level: Level
    subject: str
    """What was checked, such as `port` or `camera ward`."""
    detail: str
    """The result in one line."""
    exit_code: int = 0
    """The exit code of a run with this error."""

    @classmethod
    def of(cls, subject: str, error: MaskStreamError) -> "Finding":
        """Return the finding of an error."""
        return cls(Level.ERROR, subject, str(error), error.exit_code)


def check_site(sources: Sequence[str], config: Config, command_line: Sequence[Layer], *, probe: bool) -> Iterator[Finding]:
    """Yield the findings of all checks, in the order in which a run would meet the problems.

    Args:
        sources: The values of `--source`.
        config: The configuration.
        command_line: The layers that override a camera's own settings.
        probe: Whether each camera is opened.
    """
    yield Finding(Level.OK, "settings", "all keys and values are allowed")
    cameras: list[Camera] = []
    for found in _cameras(sources, config, command_line):
        if isinstance(found, Finding):
            yield found
        else:
            cameras.append(found)
    yield from _zones(cameras)
    yield from _models(config)
    yield from _dashboard(config)
    yield from _receivers(config)
    yield from _folders(config)
    yield from _sources(cameras, probe=probe)


def _cameras(sources: Sequence[str], config: Config, command_line: Sequence[Layer]) -> Iterator[Finding | Camera]:
    """Yield each camera, or all errors of the lists."""
    errors = [error for source in sources if is_list(source) for error in list_problems(source, config, command_line)]
    cameras: list[Camera] = []
    if not errors:
        try:
            cameras = read_cameras(sources, config, command_line)
        except MaskStreamError as error:
            errors.append(error)
    yield from (Finding.of("cameras", error) for error in errors)
    if cameras:
        names = ", ".join(camera.name for camera in cameras)
        yield Finding(Level.OK, "cameras", f"{len(cameras)}: {names:.200}")
    yield from cameras


def _zones(cameras: Sequence[Camera]) -> Iterator[Finding]:
    """Warn of zones in which the detector finds nothing."""
    for camera in cameras:
        region = camera.config.detector.region
        for name, polygon in camera.config.zones.items():
            if region is None:
                continue
            left, top, right, bottom = region
            xs, ys = [x for x, _ in polygon], [y for _, y in polygon]
            if min(xs) >= right or max(xs) <= left or min(ys) >= bottom or max(ys) <= top:
                detail = f"zones.{name} is outside of detector.region, where no face is found; change one of them"
                yield Finding(Level.WARNING, f"camera {camera.name}", detail)


def _models(config: Config) -> Iterator[Finding]:
    from maskstream.inference.pipeline import require_models
    from maskstream.io.resources import own_or_shipped

    def check() -> str:
        require_models(config)
        for key, given in (("detector.weights", config.detector.weights), ("classifier.weights", config.classifier.weights)):
            if given is not None and not own_or_shipped(expand_home(given)).exists():
                raise ModelError(f"{key}: {given}: no such file; check the path")
        return f"device {config.device}, {config.detector.name}, {config.classifier.name}"

    yield _tried("models", check)


def _dashboard(config: Config) -> Iterator[Finding]:
    if config.web.listen is None:
        return
    try:
        require_web_packages()
        from maskstream.web.listening import listen
        from maskstream.web.tls import WARN_DAYS

        if config.web.proxy_secret is not None:
            expand(config.web.proxy_secret, "web.proxy_secret")
        listener = listen(config.web)
    except MaskStreamError as error:
        yield Finding.of("dashboard", error)
        return
    with listener.socket:
        address = listener.url
    yield Finding(Level.OK, "dashboard", f"{address}: the port is free")
    if listener.certificate is not None:
        days, until = listener.certificate.days_left, f"{listener.certificate.expires:%Y-%m-%d}"
        if days < WARN_DAYS:
            yield Finding(Level.WARNING, "certificate", f"expires in {days:.0f} days, on {until}; renew it")
        else:
            yield Finding(Level.OK, "certificate", f"is valid for {days:.0f} days, until {until}")


def _receivers(config: Config) -> Iterator[Finding]:
    """Connect to all receivers of events."""
    try:
        reporting = Reporting(SourceSettings(config))
        reporting.require_people(None, None, store=config.web.listen is not None)
    except MaskStreamError as error:
        yield Finding.of("events", error)
        return
    yield from _in_parallel([*_connections(config)])
    for folder in reporting.folders:
        yield _tried("events.queue", partial(_writable, folder))


def _connections(config: Config) -> Iterator[Callable[[], Finding]]:
    from maskstream.events.mqtt_broker import Broker
    from maskstream.events.reachability import broker_problem, webhook_problem

    events = config.events
    if events.mqtt is not None:
        broker = Broker.of(expand(events.mqtt, "events.mqtt"), events.ca_file)
        name = f"MQTT broker {events.mqtt_name or f'{broker.host}:{broker.port}'}"
        yield partial(_reached, name, partial(broker_problem, broker))
    for number, hook in enumerate(events.webhooks, 1):
        url = expand(hook.url, "events.webhooks: url")
        yield partial(_reached, f"webhook {hook.name or number}", partial(webhook_problem, url, events.ca_file))


def _reached(name: str, find_problem: Callable[[], str]) -> Finding:
    problem = find_problem()
    if problem:
        return Finding(Level.ERROR, name, problem, SinkError.exit_code)
    return Finding(Level.OK, name, "answers")


def _folders(config: Config) -> Iterator[Finding]:
    """Check the store and its folder, where the run has one."""
    if config.web.listen is None and config.store.folder is None:
        return

    def check() -> str:
        from maskstream.store.schema import FILE_NAME, require_store_file
        from maskstream.store.store import default_folder

        folder = Path(expand_home(config.store.folder or str(default_folder())))
        result = _writable(str(folder))
        if (folder / FILE_NAME).exists():
            require_store_file(folder / FILE_NAME)
        return result

    yield _tried("store.folder", check)


def _writable(folder: str) -> str:
    """Write a file without a name to a folder, or to the one that it would be made in.

    Raises:
        SinkError: That fails.
    """
    require_folder(folder)
    existing = next(parent for parent in (Path(folder), *Path(folder).absolute().parents) if parent.exists())
    try:
        with TemporaryFile(dir=existing, buffering=0) as file:
            file.write(bytes(_TRIAL_BYTES))
    except OSError as error:
        raise SinkError(f"{folder}: cannot be written: {error.strerror}; make room, or choose another place") from error
    return f"{folder} can be written"


def _sources(cameras: Sequence[Camera], *, probe: bool) -> Iterator[Finding]:
    """Check that files exist, and open all cameras where that is requested."""
    for camera in cameras:
        is_file = location_kind(camera.location) in ("file", "images")
        if is_file and not os.path.lexists(local_path(camera.location)):
            yield Finding.of(f"camera {camera.name}", SourceError(f"{camera.location}: no such file; check the path"))
    if probe:
        yield from _in_parallel([partial(_probed, camera) for camera in cameras])


def _probed(camera: Camera) -> Finding:
    from maskstream.sources.probe import probe

    def check() -> str:
        found = probe(camera)
        rate = f", {found.fps:.3g} fps" if found.fps else ""
        return f"sends {found.width}x{found.height}{rate}, first frame after {found.seconds:.1f} s"

    return _tried(f"camera {camera.name}", check)


def _tried(subject: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(Level.OK, subject, check())
    except MaskStreamError as error:
        return Finding(Level.ERROR, subject, str(error).removeprefix(f"{subject.removeprefix('camera ')}: "), error.exit_code)


def _in_parallel(checks: Sequence[Callable[[], Finding]]) -> Iterator[Finding]:
    """Yield the findings of checks that wait for a network, in order."""
    if checks:
        with ThreadPoolExecutor(min(len(checks), _PROBES)) as threads:
            yield from threads.map(lambda check: check(), checks)
