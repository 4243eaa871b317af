"""Ask the head of a Ray cluster for a limited time: while the head is down, Ray waits until it is back."""

from collections.abc import Callable
from threading import Lock, Thread
from typing import TypeVar

T = TypeVar("T")


class Head:
    """The head of a cluster. It is asked one question at a time; while one is without an answer, others fail at once."""

    def __init__(self, limit_s: float) -> None:
        """Wait at most `limit_s` for each answer."""
        self._limit_s = limit_s
        self._lock = Lock()
        self._asking: Thread | None = None

    def ask(self, question: Callable[[], T]) -> T:
        """Return the answer, or raise the error that the question raises.

        Raises:
            TimeoutError: There is no answer. A thread goes on waiting for it, and what it returns is lost.
        """
        answers: list[T] = []
        errors: list[BaseException] = []

        def ask() -> None:
            try:
                answers.append(question())
            except BaseException as error:  # Ray raises SystemExit too, and all of them are raised below
                errors.append(error)

        with self._lock:
            if self._asking is not None and self._asking.is_alive():
                raise TimeoutError("the head of Ray has not answered an earlier question")
            self._asking = Thread(target=ask, name="ray head", daemon=True)
            self._asking.start()
            self._asking.join(self._limit_s)
        if errors:
            raise errors[0]
        if not answers:
            raise TimeoutError(f"the head of Ray has not answered within {self._limit_s:g} s")
        return answers[0]
