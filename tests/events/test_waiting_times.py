"""What a delivery reports of the records that wait."""

from pathlib import Path

from maskstream.events.waiting_times import WaitingTimes
from tests.clocks import HastyClock
from tests.events.test_delivery import delivery, event
from tests.ports import free_port
from tests.receivers import wait_until, web_receiver


def test_the_oldest_record_and_the_number_are_known() -> None:
    times = WaitingTimes(0, 10.0)
    assert (times.waiting(), times.oldest_s(50.0)) == (0, None)
    for second, key in enumerate("abcd"):
        times.add(key, 20.0 + second)
    assert (times.waiting(), times.oldest_s(50.0)) == (4, 30.0)
    times.remove("a")
    times.remove("c")
    assert (times.waiting(), times.oldest_s(50.0)) == (2, 29.0)
    times.drop_oldest(1)
    assert (times.waiting(), times.oldest_s(50.0), times.lost) == (1, 27.0, 1)
    times.remove("unknown")
    assert times.waiting() == 1


def test_records_of_an_earlier_run_are_the_oldest() -> None:
    times = WaitingTimes(2, 10.0)
    times.add("a", 20.0)
    assert (times.waiting(), times.oldest_s(50.0)) == (3, 40.0)
    times.remove("of the earlier run")
    times.drop_oldest(2)
    assert (times.waiting(), times.oldest_s(50.0), times.lost) == (0, None, 2)


def test_a_delivery_reports_what_waits_and_why(tmp_path: Path) -> None:
    port = free_port()
    with delivery(tmp_path, f"http://127.0.0.1:{port}/", clock=HastyClock(50)) as sending:
        sending.take([event(1), event(2)])
        wait_until(lambda: sending.status().reason != "")
        status = sending.status()
        assert (status.waiting, status.lost) == (2, 0)
        assert status.oldest_s is not None
        assert status.receiver == "webhook at 127.0.0.1"
        with web_receiver(port=port):
            wait_until(lambda: sending.status().waiting == 0)
            assert sending.status().oldest_s is None
            assert sending.status().reason == ""
    with delivery(tmp_path, f"http://127.0.0.1:{port}/", limit=1500, clock=HastyClock(50)) as sending:
        sending.take([event(number) for number in range(3, 9)])
        status = sending.status()
        assert status.lost > 0
        assert status.waiting + status.lost == 8  # with the ends of the two events that were open
