"""Which node analyses which camera: sticky, allowed, where most capacity is free, and few moves at a time."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskstream.fleet.plan import OVERLOAD_S, MoveCause, NodeView, Plan, plan
from maskstream.fleet.site import CameraSpec, NodeLimits, Site
from tests.fleet.sites import a_site, camera, view

NODES = ("east", "north", "west")
CAMERAS = tuple(f"camera {number}" for number in range(8))


def planned(
    site: Site,
    *nodes: NodeView,
    current: Mapping[str, str] | None = None,
    overloaded_for_s: Mapping[str, float] | None = None,
    recent_moves: int = 0,
) -> Plan:
    return plan(site, nodes, current or {}, overloaded_for_s or {}, recent_moves)


def causes(plan: Plan) -> dict[str, tuple[str, str]]:
    """Return the target and the cause of each move."""
    return {move.camera: (move.to_node, move.cause.value) for move in plan.moves}


def test_cameras_are_spread_by_free_capacity() -> None:
    done = planned(a_site(["a", "b", "c"]), view("east", 20), view("west", 11))
    assert done.placements == {"a": "east", "b": "east", "c": "west"}
    assert {cause for _, cause in causes(done).values()} == {"new"}


def test_nodes_without_a_known_capacity_get_equally_many() -> None:
    done = planned(a_site(["a", "b", "c", "d"]), view("east", 0), view("west", 0))
    assert sorted(done.placements.values()) == ["east", "east", "west", "west"]


def test_the_camera_that_needs_most_is_placed_first() -> None:
    lost = view("lost", demand_fps={"a": 2, "b": 20, "c": 2}, is_up=False)
    done = planned(a_site(["a", "b", "c"]), lost, view("east", 21), view("west", 8), current=dict.fromkeys("abc", "lost"))
    assert done.placements == {"a": "west", "b": "east", "c": "west"}


def test_a_camera_is_placed_although_no_node_has_capacity_for_it() -> None:
    done = planned(a_site(["a", "b"]), view("east", 1))
    assert done.placements == {"a": "east", "b": "east"}


def test_a_limit_in_the_site_is_used_where_it_is_below_the_measured_capacity() -> None:
    site = a_site(["a", "b"], {"east": NodeLimits(capacity_fps=6.0), "north": NodeLimits(capacity_fps=500.0)})
    assert planned(site, view("east", 50), view("north", 8)).placements == {"a": "north", "b": "east"}
    assert planned(site, view("east", 0), view("north", 0)).placements == {"a": "north", "b": "north"}


def test_cameras_stay_when_a_node_comes_back_empty() -> None:
    site = a_site(["a", "b", "c"])
    done = planned(site, view("east", 5), view("west", 100), current=dict.fromkeys("abc", "east"))
    assert (done.placements, done.moves) == (dict.fromkeys("abc", "east"), ())


def test_cameras_of_a_lost_or_unknown_node_are_placed_anew_at_once_and_without_limit() -> None:
    site = a_site(["a", "b", "c"], max_moves_per_minute=0)
    done = planned(site, view("east", is_up=False), view("west"), current={"a": "east", "b": "gone", "c": "west"})
    assert causes(done) == {"a": ("west", "node_lost"), "b": ("west", "node_lost")}


def test_a_node_that_does_not_answer_keeps_its_cameras_and_gets_no_others() -> None:
    done = planned(a_site(["a", "b"]), view("east", is_silent=True), view("west", 1), current={"a": "east"})
    assert done.placements == {"a": "east", "b": "west"}


def test_names_and_labels_limit_where_a_camera_is_placed() -> None:
    site = a_site(
        [camera("a", "west"), camera("b", "gpu"), camera("c", "south")],
        {"west": NodeLimits(), "north": NodeLimits(labels=["gpu"])},
    )
    done = planned(site, view("east", 100), view("north", 9), view("west", 1))
    assert done.placements == {"a": "west", "b": "north"}
    assert done.unplaced == {"c": "no node that it may be placed on answers (nodes: south)"}


def test_a_camera_moves_where_an_edit_does_not_allow_its_node_any_more() -> None:
    site = a_site([camera("a", "west"), camera("b", "south")])
    done = planned(site, view("east"), view("west"), current={"a": "east", "b": "east"})
    assert causes(done) == {"a": ("west", "not_allowed")}
    assert done.placements["b"] == "east"
    assert list(done.held) == ["b"]


def test_a_drained_node_gives_its_cameras_away_a_few_at_a_time() -> None:
    site = a_site(["a", "b", "c"], max_moves_per_minute=3)
    nodes = (view("east", is_draining=True), view("west", 1))
    done = planned(site, *nodes, current=dict.fromkeys("abc", "east"), recent_moves=1)
    assert causes(done) == {"a": ("west", "drain"), "b": ("west", "drain")}
    assert done.held == {"c": "waits: 3 moves a minute (max_moves_per_minute)"}
    last = planned(site, nodes[0], current=dict.fromkeys("abc", "east"))
    assert (last.placements, last.moves) == (dict.fromkeys("abc", "east"), ())
    assert set(last.held) == {"a", "b", "c"}


def test_a_drained_node_gets_no_camera_though_another_has_no_place() -> None:
    done = planned(a_site(["a"]), view("east", is_draining=True))
    assert done.unplaced == {"a": "its nodes are drained or do not answer"}


def test_one_camera_leaves_a_node_that_has_dropped_too_much_for_a_minute() -> None:
    site = a_site(["a", "b", "c"])
    nodes = (view("east", 10, {"a": 4, "b": 12, "c": 7}), view("west", 8))
    current = dict.fromkeys("abc", "east")
    assert planned(site, *nodes, current=current, overloaded_for_s={"east": OVERLOAD_S - 0.1}).moves == ()
    done = planned(site, *nodes, current=current, overloaded_for_s={"east": OVERLOAD_S})
    assert causes(done) == {"c": ("west", "overload")}, "the largest that fits"


@pytest.mark.parametrize(
    ("target", "overloads"),
    [
        (view("west", 4), {}),
        (view("west", is_silent=True), {}),
        (view("west", is_draining=True), {}),
        (view("west"), {"west": 1.0}),
    ],
    ids=["too small", "silent", "drained", "overloaded too"],
)
def test_an_overloaded_node_keeps_its_cameras_where_no_other_can_take_one(
    target: NodeView, overloads: Mapping[str, float]
) -> None:
    overloaded = {"east": 100.0, **overloads}
    done = planned(a_site(["a", "b"]), view("east", 5), target, current=dict.fromkeys("ab", "east"), overloaded_for_s=overloaded)
    assert done.moves == ()


@st.composite
def situations(draw: st.DrawFn) -> tuple[Site, list[NodeView], dict[str, str], dict[str, float], int]:
    limits = {name: NodeLimits(labels=draw(st.lists(st.sampled_from(["gpu", "cold"]), unique=True))) for name in NODES}
    allowed = st.lists(st.sampled_from([*NODES, "gpu", "cold"]), max_size=2, unique=True)
    cameras: list[CameraSpec | str] = [camera(name, *draw(allowed)) for name in CAMERAS[: draw(st.integers(0, len(CAMERAS)))]]
    site = a_site(cameras, limits, max_moves_per_minute=draw(st.integers(0, 4)))
    flags = st.booleans()
    demands = st.dictionaries(st.sampled_from(CAMERAS), st.floats(0.1, 50))
    nodes = [
        view(name, draw(st.floats(0, 100)), draw(demands), is_up=draw(flags), is_draining=draw(flags), is_silent=draw(flags))
        for name in draw(st.lists(st.sampled_from(NODES), unique=True))
    ]
    current = draw(st.dictionaries(st.sampled_from(CAMERAS), st.sampled_from([*NODES, "unknown"])))
    overloads = draw(st.dictionaries(st.sampled_from(NODES), st.floats(0, 200)))
    return site, nodes, current, overloads, draw(st.integers(0, 6))


@given(situations())
def test_properties_of_every_plan(situation: tuple[Site, list[NodeView], dict[str, str], dict[str, float], int]) -> None:
    site, nodes, current, overloads, recent = situation
    done = plan(site, nodes, current, overloads, recent)
    by_name = {node.name: node for node in nodes}
    open_nodes = {node.name for node in nodes if node.is_up and not node.is_silent and not node.is_draining}
    moved = {move.camera: move for move in done.moves}
    assert len(moved) == len(done.moves), "a camera moves once"
    assert set(done.placements) | set(done.unplaced) == {each.name for each in site.cameras}
    assert not set(done.placements) & set(done.unplaced)
    for each in site.cameras:
        possible = {name for name in open_nodes if not each.nodes or site.names_of(name) & set(each.nodes)}
        target, before = done.placements.get(each.name), current.get(each.name)
        stays = before in by_name and by_name[before].is_up
        assert (target is None) == (not possible and not stays)
        if target is not None and target != before:
            assert target in possible
            assert moved[each.name].from_node == before
            assert not stays or moved[each.name].cause.is_limited
        else:
            assert each.name not in moved, "nothing moves to where it is"
    limited = [move for move in done.moves if move.cause.is_limited]
    assert len(limited) <= max(0, site.max_moves_per_minute - recent)
    by_overload = [move.from_node for move in limited if move.cause is MoveCause.OVERLOAD]
    assert len(by_overload) == len(set(by_overload)), "one camera moves"
    assert all(overloads[node] >= OVERLOAD_S for node in by_overload if node)
    assert plan(site, list(reversed(nodes)), current, overloads, recent) == done, "the order of nodes does not matter"


@given(situations())
def test_properties_of_the_next_plan(situation: tuple[Site, list[NodeView], dict[str, str], dict[str, float], int]) -> None:
    """Where nothing changes, nothing moves but what the limit held back."""
    site, nodes, current, _, recent = situation
    first = plan(site, nodes, current, {}, recent)
    second = plan(site, nodes, {**current, **first.placements}, {}, recent)
    held = {name for name, why in first.held.items() if "max_moves_per_minute" in why}
    assert {move.camera for move in second.moves} <= held
