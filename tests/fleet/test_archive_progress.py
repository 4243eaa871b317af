import io
import re

import pytest
from loguru import logger
from rich.console import Console

from maskstream.fleet.archive_progress import ArchiveProgress
from tests.clocks import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def progress_of(clock: ManualClock, console: Console | None = None, *, is_silent: bool = False) -> ArchiveProgress:
    return ArchiveProgress(console, files=4, size_bytes=10_000_000, is_silent=is_silent, clock=clock.now_s)


def test_the_remaining_time_follows_the_remaining_bytes(clock: ManualClock) -> None:
    progress = progress_of(clock)
    assert progress.left_s() is None
    progress.sent("one", "a.mp4", 4_000_000)
    progress.sent("one", "b.mp4", 3_000_000)
    clock.advance(40)
    progress.advanced("one", 60, 0.5)
    assert progress.left_s() == pytest.approx(160)  # 2 MB took 40 s, 8 MB are left
    clock.advance(40)
    progress.done("one", "a.mp4", 120)
    assert progress.left_s() == pytest.approx(120)
    assert progress.line() == "1 of 4 files, 4.0 MB of 10.0 MB, 1.5 h of video per hour, 2 min 0 s left"


def test_a_failed_file_takes_no_time_but_is_no_longer_left(clock: ManualClock) -> None:
    progress = progress_of(clock)
    progress.sent("one", "a.mp4", 4_000_000)
    progress.sent("two", "broken.mp4", 4_000_000)
    progress.failed("broken.mp4")
    clock.advance(80)
    progress.done("one", "a.mp4", 120)
    assert progress.left_s() == pytest.approx(40)
    assert progress.line().endswith("40.0 s left, 1 failed")


def test_a_file_of_a_lost_worker_is_counted_when_another_one_is_done_with_it(clock: ManualClock) -> None:
    progress = progress_of(clock)
    progress.sent("one", "a.mp4", 4_000_000)
    progress.advanced("one", 60, 0.9)
    progress.lost("one")
    clock.advance(10)
    assert progress.left_s() is None
    progress.sent("two", "a.mp4", 4_000_000)
    progress.done("two", "a.mp4", 120)
    assert progress.line().startswith("1 of 4 files, 4.0 MB of 10.0 MB")


def test_a_pipe_gets_a_line_every_30_s(clock: ManualClock) -> None:
    lines: list[str] = []
    handler = logger.add(lambda message: lines.append(message.record["message"]), level="INFO")
    try:
        progress = progress_of(clock, Console(file=io.StringIO()))
        for _ in range(65):
            clock.advance(1)
            progress.update()
        progress_of(clock, is_silent=True).update()
        progress.close()
    finally:
        logger.remove(handler)
    assert lines == ["0 of 4 files, 0.0 kB of 10.0 MB, 0.0 h of video per hour, remaining time unknown"] * 2


def test_a_terminal_shows_each_worker_with_its_file_and_rate(clock: ManualClock) -> None:
    text = io.StringIO()
    progress = progress_of(clock, Console(file=text, force_terminal=True, width=80))
    progress.sent("one", "/nas/door/a[/b]\nc\udcff.mp4", 4_000_000)
    progress.sent("one", "later.mp4", 4_000_000)
    clock.advance(10)
    progress.advanced("one", 65, 0.3)
    progress.update()
    shown = text.getvalue()
    progress.close()
    progress.close()
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).split("\n")
    assert [line.strip() for line in lines if "one" in line][-1] == "one  6.5× a[/b]\\nc?.mp4 30%"
    assert "later" not in shown
    assert "0 of 4 files, 0.0 kB of 10.0 MB, 6.5 h of video per hour, 1 min 13 s left" in lines[-2]
    assert lines[-3].strip("\r ") == "━" * 7 + "╺" + "━" * 52


def test_many_workers_do_not_fill_the_terminal(clock: ManualClock) -> None:
    text = io.StringIO()
    progress = progress_of(clock, Console(file=text, force_terminal=True, width=100, height=60))
    for number in range(40):
        progress.sent(f"worker {number}", f"{number}.mp4", 1)
    clock.advance(1)
    progress.update()
    progress.close()
    assert "worker 15" in text.getvalue()
    assert "worker 16" not in text.getvalue()
    assert "and 24 workers more" in text.getvalue()
