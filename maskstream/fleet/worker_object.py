"""The object in a worker's process: created from a `WorkerSpec`, called by name, answering with plain values."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Self

from maskstream.fleet.placement import CallFailed


@dataclass(frozen=True)
class Answer:
    """What a call came to."""

    value: Any = None
    failure: CallFailed | None = None

    @classmethod
    def from_bytes(cls, pickled: bytes) -> Self:
        """Return the answer of a worker of ours; a failure where its value has a type that does not exist here."""
        try:
            answer: Self = pickle.loads(pickled)  # noqa: S301  from a process of this user or cluster
        except Exception as error:  # what unpickling raises depends on the value
            return cls(failure=CallFailed.of(error))
        return answer

    def to_bytes(self) -> bytes:
        """Return the pickled answer; a failure where its value cannot be pickled."""
        try:
            return pickle.dumps(self)
        except Exception as error:  # what pickling raises depends on the value
            return pickle.dumps(Answer(failure=CallFailed.of(error)))

    def unpack(self) -> Any:
        """Return the value.

        Raises:
            CallFailed: The method raised an error.
        """
        if self.failure is not None:
            raise self.failure
        return self.value


class WorkerObject:
    """Create the target of a spec and call its methods. An error of the constructor is the answer to every call."""

    def __init__(self, target: str, arguments: Mapping[str, object]) -> None:
        """Import `package.module:Class` and create it with keyword arguments."""
        self._failure: CallFailed | None = None
        module, _, name = target.partition(":")
        try:
            self._target = getattr(import_module(module), name)(**arguments)
        except Exception as error:
            self._failure = CallFailed.of(error)

    def call(self, method: str, args: tuple[object, ...]) -> Answer:
        """Call a method; an error that it raises is part of the answer."""
        if self._failure is not None:
            return Answer(failure=self._failure)
        try:
            return Answer(getattr(self._target, method)(*args))
        except Exception as error:
            return Answer(failure=CallFailed.of(error))
