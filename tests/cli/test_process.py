import io
from collections.abc import Iterator

import pytest
from loguru import logger
from rich.console import Console

from maskstream.cli.process import start_log


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    text = io.StringIO()
    start_log(Console(file=text, width=200), "INFO")
    yield text
    logger.remove()


def test_the_traceback_of_a_mistake_shows_no_values(log: io.StringIO) -> None:
    token = "s3cret"
    try:
        raise ZeroDivisionError(len(token))
    except ZeroDivisionError:
        logger.exception("a mistake")
    assert "ZeroDivisionError: 6" in log.getvalue()
    assert "s3cret" not in log.getvalue()
