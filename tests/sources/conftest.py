"""Fixtures of tests that check the log of a source."""

from collections.abc import Iterator

import pytest
from loguru import logger

from tests.servers import assert_no_secret


@pytest.fixture
def log_without_secrets() -> Iterator[list[str]]:
    """All log lines with their tracebacks; at the end none of them may contain a user or password of `tests.servers`."""
    lines: list[str] = []
    handler = logger.add(lambda message: lines.append(str(message)), level="TRACE")
    yield lines
    logger.remove(handler)
    assert_no_secret("".join(lines))


@pytest.fixture
def warnings_logged() -> Iterator[list[str]]:
    """Messages of warnings and errors in the log."""
    messages: list[str] = []
    handler = logger.add(lambda message: messages.append(message.record["message"]), level="WARNING")
    yield messages
    logger.remove(handler)
