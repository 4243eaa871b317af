"""When a node is lost, and which supervisor it obeys. The lease of the node ends before the supervisor takes it for lost."""

from hypothesis import given
from hypothesis import strategies as st

from maskstream.fleet.leases import MARGIN_S, AcceptedSupervisor, Lease, NodeLeases, lease_now_s

LEASE_S = 10.0


def heard(book: NodeLeases, now_s: float, sent_s: float = 0.0) -> None:
    book.heard("east", sent_s, now_s)
    book.grant("east", LEASE_S)


def test_a_node_is_lost_a_lease_and_a_margin_after_its_last_answer() -> None:
    book = NodeLeases()
    heard(book, 100.0)
    assert not book.is_lost("east", 114.9, LEASE_S)
    assert book.is_lost("east", 115.0, LEASE_S)
    heard(book, 116.0)
    assert not book.is_lost("east", 116.0, LEASE_S)
    assert book.heard_age_s("east", 118.0) == 2.0


def test_a_node_that_does_not_answer_for_half_a_lease_is_silent() -> None:
    book = NodeLeases()
    assert book.is_silent("east", 0.0, LEASE_S)
    heard(book, 100.0)
    assert not book.is_silent("east", 105.0, LEASE_S)
    assert book.is_silent("east", 105.1, LEASE_S)


def test_a_node_that_never_answered_is_lost() -> None:
    book = NodeLeases()
    assert book.is_lost("east", 0.0, LEASE_S)
    assert book.heard_age_s("east", 0.0) is None
    assert book.grant("east", LEASE_S) is None


def test_a_node_of_an_earlier_supervisor_keeps_its_cameras_for_a_lease() -> None:
    book = NodeLeases()
    book.expect("east", 100.0, LEASE_S)
    assert book.is_silent("east", 100.0, LEASE_S)
    assert not book.is_lost("east", 114.9, LEASE_S)
    assert book.is_lost("east", 115.0, LEASE_S)


def test_a_node_that_has_certainly_ended_is_lost_at_once() -> None:
    book = NodeLeases()
    heard(book, 100.0)
    book.ended("east")
    assert book.is_lost("east", 100.0, LEASE_S)


def test_a_longer_lease_that_was_given_before_an_edit_is_waited_for() -> None:
    book = NodeLeases()
    book.heard("east", 1.0, 100.0)
    book.grant("east", 60.0)
    assert not book.is_lost("east", 164.9, LEASE_S)
    assert book.is_lost("east", 165.0, LEASE_S)


def test_a_lease_begins_when_the_answer_was_sent_that_came_back() -> None:
    lease = Lease(began_s=50.0)
    assert not lease.is_valid(50.0)
    lease.renewed(60.0, LEASE_S, now_s=69.0)  # a call that was long on its way
    assert lease.is_valid(69.9)
    assert not lease.is_valid(70.0)


def test_echoes_of_an_earlier_agent_and_older_ones_do_not_renew_a_lease() -> None:
    lease = Lease(began_s=50.0)
    lease.renewed(49.0, LEASE_S, now_s=51.0)
    lease.renewed(None, LEASE_S, now_s=51.0)
    lease.renewed(1000.0, LEASE_S, now_s=51.0)  # sent before the machine was started again
    assert not lease.is_valid(51.0)
    lease.renewed(60.0, LEASE_S, now_s=61.0)
    lease.renewed(55.0, 100.0, now_s=62.0)
    assert not lease.is_valid(70.0)


def test_without_a_lease_cameras_run_where_the_site_says_go_on() -> None:
    lease = Lease(began_s=0.0)
    assert lease.may_run("go_on", 5.0)
    assert not lease.may_run("stop", 5.0)


@given(
    offset_s=st.floats(-1e6, 1e6),
    rate=st.floats(0.7, 1.4),
    delays_s=st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100), st.booleans()), min_size=1, max_size=20),
    lease_s=st.floats(2, 30),
)
def test_no_lease_outlives_what_the_supervisor_waits(
    offset_s: float, rate: float, delays_s: list[tuple[float, float, bool]], lease_s: float
) -> None:
    """Whatever time calls and answers take, and though the clock of the node shows another time and runs slower or faster."""

    def by_node_s(real_s: float) -> float:
        return offset_s + rate * real_s

    real_s = 1.0
    book, lease = NodeLeases(), Lease(by_node_s(0.0))
    for call_s, answer_s, arrives in delays_s:
        echo_s = book.grant("east", lease_s)
        real_s += call_s
        lease.renewed(echo_s, lease_s, by_node_s(real_s))
        assert (
            not lease.is_valid(by_node_s(real_s)) or not book.is_lost("east", real_s, lease_s) or lease_s * (1 - rate) > MARGIN_S
        )
        sent_s = by_node_s(real_s)
        real_s += answer_s
        if arrives:
            book.heard("east", sent_s, real_s)
    for later_s in (0.0, 0.5 * lease_s, lease_s, lease_s + MARGIN_S, 2 * lease_s + MARGIN_S):
        at_s = real_s + later_s
        if lease_s / rate <= lease_s + MARGIN_S and book.is_lost("east", at_s, lease_s):
            assert not lease.is_valid(by_node_s(at_s))


def test_one_supervisor_is_obeyed_while_its_lease_is_valid() -> None:
    obedience = AcceptedSupervisor()
    assert obedience.refusal("one", 3, 1, has_lease=False) == ""
    assert obedience.refusal("two", 9, 9, has_lease=True) == "this node belongs to supervisor one; stop that one first"
    assert obedience.refusal("one", 3, 2, has_lease=True) == ""
    assert obedience.refusal("two", 1, 1, has_lease=False) == ""
    assert "belongs to supervisor two" in obedience.refusal("one", 3, 3, has_lease=True)


def test_calls_of_an_earlier_term_or_turn_are_refused() -> None:
    obedience = AcceptedSupervisor()
    obedience.refusal("one", 2, 7, has_lease=False)
    assert obedience.refusal("one", 2, 6, has_lease=True) == "term 2, turn 6 is older than term 2, turn 7"
    assert obedience.refusal("one", 2, 7, has_lease=True) == "", "the same call again"
    assert obedience.refusal("one", 3, 1, has_lease=True) == ""
    assert obedience.refusal("one", 2, 8, has_lease=True) == "term 2, turn 8 is older than term 3, turn 1"


def test_the_clock_of_leases_does_not_run_back() -> None:
    times = [lease_now_s() for _ in range(100)]
    assert times == sorted(times)
