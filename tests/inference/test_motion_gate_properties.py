"""Whatever happens before a camera: the detector misses no change, no face keeps it waiting, and its rests are short."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from maskstream.inference.propagation import PropagatingAnalyzer
from maskstream.types import Face, Frame
from tests.inference.test_motion_gate import FPS, Finds, a_face, config

BEGAN = datetime(2026, 11, 27, tzinfo=UTC)
AWAKE_S = 3.0
IDLE_S = 1.0
Moment = tuple[int, bool, bool]
"""How many frames it lasts, whether something moves, and whether the detector would find a face."""


def pictures(moments: Sequence[Moment]) -> tuple[list[Frame], list[bool], list[bool]]:
    """Return frames, and for each whether something is there that moves, and whether there is a face."""
    moves = [moving for count, moving, _ in moments for _ in range(count)]
    has_face = [face for count, _, face in moments for _ in range(count)]
    frames = []
    for index, moving in enumerate(moves):
        bgr = np.full((72, 128, 3), 100, np.uint8)
        if moving:
            left = 10 + index * 7 % 100
            bgr[20:40, left : left + 12] = 250
        time_s = index / FPS
        frames.append(Frame(bgr, index, "door", time_s, wall_time=BEGAN + timedelta(seconds=time_s)))
    return frames, moves, has_face


@given(
    moments=st.lists(st.tuples(st.integers(1, 40), st.booleans(), st.booleans()), min_size=1, max_size=6),
    every=st.integers(1, 4),
)
def test_the_detector_rests_only_where_it_may(moments: list[Moment], every: int) -> None:
    frames, moves, has_face = pictures(moments)

    def found(frame: Frame) -> Sequence[Face]:
        return [a_face()] if has_face[frame.index] else ()

    gated, without = Finds(found), Finds(found)
    resting = PropagatingAnalyzer(gated, config(every=every, idle_s=IDLE_S))
    always = PropagatingAnalyzer(without, config(every=every, motion=False))
    for frame in frames:
        resting.analyze([frame])
        always.analyze([frame])
    due, looked = [index for _, index in without.shown], {index for _, index in gated.shown}
    assert looked <= set(due)
    assert {index for index in due if moves[index]} <= looked
    last = 0
    for index in due:
        with_face = [earlier for earlier in looked if earlier < index and has_face[earlier]]
        if with_face and (index - max(with_face)) / FPS < AWAKE_S:
            assert index in looked
        if index in looked:
            last = index
        assert (index - last) / FPS < IDLE_S
