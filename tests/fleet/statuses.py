"""States of a fleet as tests of its pages and metrics need them."""

from dataclasses import replace
from typing import Any, Final

from maskstream.fleet.status import FleetStatus, Move, NodeStatus, PlacedCamera
from maskstream.stream.states import SourceState

AT_S: Final = 1_795_000_000.0
"""A time in seconds since 1970."""


def node(name: str, **changes: Any) -> NodeStatus:
    """Return a node that answers."""
    made = NodeStatus(
        name=name,
        state="up",
        reason="",
        heard_s=0.4,
        capacity_fps=40.0,
        used_fps=10.0,
        cameras=2,
        waiting=0,
        clock_offset_s=0.012,
        version="1.4.0",
    )
    return replace(made, **changes)


def placed(name: str, on: str | None, **changes: Any) -> PlacedCamera:
    """Return a camera that sends frames to its node."""
    made = PlacedCamera(
        name=name,
        node=on,
        epoch=3,
        state=SourceState.ONLINE,
        captured_fps=25.0,
        analysed_fps=5.0,
        dropped_share=0.0,
        reason="",
        since_utc=AT_S,
    )
    return replace(made, **changes)


def fleet(**changes: Any) -> FleetStatus:
    """Return a fleet of three nodes, one of which is lost, with an unplaced camera."""
    made = FleetStatus(
        site="ward 7",
        generation=4,
        nodes=(
            node("east", waiting=12),
            node("south", state="draining", reason="an administrator drains it", used_fps=5.0, cameras=1),
            node("west", state="lost", reason="no reply for 31 s", heard_s=31.0, used_fps=0.0, cameras=0, clock_offset_s=-2.5),
        ),
        cameras=(
            placed("entrance", "east"),
            placed("ward", "east", state=SourceState.OFFLINE, captured_fps=0.0, analysed_fps=0.0, reason="no route to host"),
            placed("stairs", "south", dropped_share=0.36, epoch=9),
            placed(
                "lobby",
                None,
                state="unplaced",
                captured_fps=0.0,
                analysed_fps=0.0,
                reason="its node west is lost",
                epoch=0,
                since_utc=0.0,
            ),
        ),
        stale_records=7,
        moves=(
            Move(AT_S + 60, "lobby", "west", None, "west is lost, and no other node has room"),
            Move(AT_S, "stairs", None, "south", "added"),
        ),
        drain=("south",),
        turn_age_s=0.2,
    )
    return replace(made, **changes)
