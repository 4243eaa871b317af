"""Keep the configuration of each source, shared by all parts of a run and changed while it runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

from maskstream.config.schema import Config

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class _Entry:
    config: Config
    derived: dict[Callable[[Config], Any], Any] = field(default_factory=dict)


class SourceSettings:
    """The configuration of each source. A source without settings of its own has the common configuration.

    Several threads may read and change it. Each `set` leads to another `Config` object: a reader that keeps something made with
    earlier settings compares the object (`is`) to find out whether it must be made again.
    """

    def __init__(self, common: Config, by_source: Mapping[str, Config] | None = None) -> None:
        """Begin with the settings at the start of a run.

        Args:
            common: The configuration of all sources that are not in `by_source`.
            by_source: The configuration of single sources, by their names.
        """
        self.common = common
        self._lock = Lock()
        self._common = _Entry(common)
        self._own = {source_id: _Entry(config) for source_id, config in (by_source or {}).items()}

    @classmethod
    def shared(cls, settings: "Config | SourceSettings") -> "SourceSettings":
        """Return settings as they are, or a configuration as that of all sources."""
        return settings if isinstance(settings, SourceSettings) else cls(settings)

    def of(self, source_id: str) -> Config:
        """Return the configuration of a source."""
        return self._own.get(source_id, self._common).config

    def derived(self, source_id: str, derive: Callable[[Config], T]) -> T:
        """Return `derive(self.of(source_id))`, which is computed once for each `Config` object.

        Args:
            source_id: The name of the source.
            derive: A function of a module or class. A lambda would be another function at each call.
        """
        entry = self._own.get(source_id, self._common)
        if derive not in entry.derived:
            entry.derived[derive] = derive(entry.config)
        value: T = entry.derived[derive]
        return value

    def all(self) -> list[Config]:
        """Return the common configuration and that of each source with settings of its own."""
        with self._lock:
            return [self.common, *(entry.config for entry in self._own.values())]

    def set(self, source_id: str, config: Config) -> None:
        """Change the configuration of a source. It holds from the next frame on."""
        with self._lock:
            self._own[source_id] = _Entry(config.model_copy())

    def remove(self, source_id: str) -> None:
        """Forget the settings of a source and everything derived from them."""
        with self._lock:
            self._own.pop(source_id, None)
