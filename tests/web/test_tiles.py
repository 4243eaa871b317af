"""Tiles from the thread that renders to the viewers: real threads, a real event loop, real JPEGs."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from time import monotonic
from typing import Any

import numpy as np
import pytest

from maskstream.config.schema import Config
from maskstream.stream.states import SourceState
from maskstream.types import FrameResult
from maskstream.web.tile_budget import OVERLOADED_SHARE, TileBudget
from maskstream.web.tile_images import NATIVE, Tile
from maskstream.web.tiles import Viewer
from tests.conftest import make_face, make_frame
from tests.web.live import WITHIN_S, FedView, config_with, decoded


class Run(FedView):
    """A fed view, and what tests wait for in its event loop."""

    async def until(self, condition: Callable[[], bool]) -> None:
        end_s = monotonic() + WITHIN_S
        while not condition():
            assert monotonic() < end_s, "waited in vain"
            await asyncio.sleep(0.002)

    async def tile(self, viewer: Viewer) -> Tile:
        while (tile := viewer.take()) is None:
            await asyncio.wait_for(viewer.wait(), WITHIN_S)
        return tile

    async def next_tile(self, viewer: Viewer, camera: str = "a") -> Tile:
        """Write a frame and return its tile."""
        await self.until(lambda: self.hub.wants(camera))
        self.frame(camera)
        return await self.tile(viewer)


def played(test: Callable[[Run], Coroutine[Any, Any, None]], config: Config | None = None) -> Run:
    run = Run(config)
    try:
        asyncio.run(test(run))
    finally:
        for thread in run.view.close():
            thread.join(WITHIN_S)
            assert not thread.is_alive()
    return run


def test_nothing_is_painted_or_encoded_without_viewers() -> None:
    async def test(run: Run) -> None:
        for _ in range(5):
            run.frame()
            run.sink.attend()

    run = played(test)
    assert run.painted == []
    assert run.hub.encoded == 0
    assert run.view.close() == []  # the encoder thread was never started


def test_only_the_watched_camera_is_painted() -> None:
    async def test(run: Run) -> None:
        viewer = run.hub.viewer()
        viewer.watch({"a": 320}, 30)
        run.frame("b")
        tile = await run.next_tile(viewer)
        run.frame("b")
        assert (tile.painted.camera, tile.width, tile.height) == ("a", 320, 180)
        assert decoded(tile.jpeg).shape == (180, 320, 3)
        viewer.close()
        run.frame("a")

    assert played(test).painted == ["a"]


def test_a_frame_is_encoded_once_per_width_for_all_viewers() -> None:
    async def test(run: Run) -> None:
        viewers = [run.hub.viewer() for _ in range(6)]
        for number, viewer in enumerate(viewers):
            viewer.watch({"a": 320 if number < 4 else NATIVE}, 30)
        run.frame()
        tiles = [await run.tile(viewer) for viewer in viewers]
        assert len({id(tile) for tile in tiles[:4]}) == 1
        assert [tile.width for tile in tiles] == [320] * 4 + [640] * 2

    run = played(test)
    assert (run.painted, run.hub.encoded, run.hub.sent) == (["a"], 2, 6)


def test_a_viewer_gets_the_next_tile_only_after_it_has_acknowledged_the_last() -> None:
    async def test(run: Run) -> None:
        viewer = run.hub.viewer()
        viewer.watch({"a": 320}, 30)
        tile = await run.next_tile(viewer)
        for _ in range(5):
            run.frame()
        await asyncio.sleep(0.02)
        assert viewer.take() is None
        assert not viewer.acknowledge("a", tile.painted.frame + 1)
        assert not viewer.acknowledge("b", tile.painted.frame)
        assert not run.hub.wants("a")
        assert viewer.acknowledge("a", tile.painted.frame)
        assert not viewer.acknowledge("a", tile.painted.frame)
        newer = await run.next_tile(viewer)
        assert newer.painted.frame == tile.painted.frame + 6  # the newest: none of the five between

    assert len(played(test).painted) == 2


def test_a_viewer_that_never_takes_a_tile_costs_one_tile_and_no_painting() -> None:
    async def test(run: Run) -> None:
        stuck = run.hub.viewer()
        stuck.watch({"a": 640}, 30)
        run.frame()
        await run.until(lambda: not run.hub.wants("a") and not run.hub._busy)
        for _ in range(50):
            run.frame()
        assert len(run.painted) == 1
        viewer = run.hub.viewer()
        viewer.watch({"a": 640}, 1000)
        for _ in range(10):
            tile = await run.next_tile(viewer)
            assert viewer.acknowledge("a", tile.painted.frame)
        assert list(stuck._waiting.values()) == [tile]  # the newest one, which all viewers share

    assert len(played(test).painted) == 11


def test_a_slow_viewer_takes_nothing_from_another() -> None:
    async def test(run: Run) -> None:
        slow, fast = run.hub.viewer(), run.hub.viewer()
        slow.watch({"a": 320}, 1000)
        fast.watch({"a": 320}, 1000)
        for _ in range(20):
            tile = await run.next_tile(fast)
            assert fast.acknowledge("a", tile.painted.frame)
        assert slow.take() is not None
        await run.until(lambda: not run.hub._busy)

    run = played(test)
    assert run.hub.encoded == 20
    assert run.hub.sent == 21


def test_the_rate_limits_the_tiles() -> None:
    async def test(run: Run) -> None:
        viewer = run.hub.viewer()
        viewer.watch({"a": 320}, 0.01)
        tile = await run.next_tile(viewer)
        assert viewer.acknowledge("a", tile.painted.frame)
        assert not run.hub.wants("a")  # for 100 s

    played(test)


def test_another_width_is_sent_at_once_from_the_newest_frame() -> None:
    async def test(run: Run) -> None:
        viewer = run.hub.viewer()
        viewer.watch({"a": 320}, 30)
        tile = await run.next_tile(viewer)
        assert viewer.acknowledge("a", tile.painted.frame)
        viewer.watch({"a": NATIVE}, 30)
        run.sink.attend()  # no further frame arrives
        wide = await run.tile(viewer)
        assert (wide.width, wide.painted.frame) == (640, tile.painted.frame)

    assert played(test).painted == ["a"]  # painted once


def test_a_camera_without_frames_shows_its_last_one() -> None:
    async def test(run: Run) -> None:
        output = run.frame()
        viewer = run.hub.viewer()
        viewer.watch({"a": 320}, 30)
        run.sink.attend()
        assert (await run.tile(viewer)).painted.frame == output.frame.index
        assert run.hub.asked == set()

    played(test)


def test_the_header_states_age_and_people() -> None:
    async def test(run: Run) -> None:
        viewer = run.hub.viewer()
        viewer.watch({"a": 320}, 30)
        tile = await run.next_tile(viewer)
        header = tile.header(tile.painted.captured_at_s + 1.25)
        assert header["age_s"] == 1.25
        assert header["people"] == {"mask": 1, "no_mask": 0, "incorrect": 0, "unknown": 0}
        assert header["time_utc"] == tile.painted.time_utc is not None

    played(test)


def test_what_changed_settings_may_hide_is_not_sent() -> None:
    """Neither a frame that waits to be painted, nor one that is painted, nor a tile that waits to be sent."""
    hidden = config_with(privacy={"blur": "all"})

    async def test(run: Run) -> None:
        viewer = run.hub.viewer()
        viewer.watch({"a": NATIVE}, 30)
        run.frame()
        await asyncio.wait_for(viewer.wait(), WITHIN_S)
        run.settings.set("a", hidden)
        assert viewer.take() is None
        run.sink.attend()
        tile = await run.next_tile(viewer)
        left, top, right, bottom = make_face().face_box_xyxy.astype(int)
        middle = decoded(tile.jpeg)[(top + bottom) // 2, (left + right) // 2]
        assert np.abs(middle.astype(int) - 112).max() <= 4  # the colour of anonymised faces

    assert played(test).painted == ["a", "a"]


def test_with_privacy_a_frame_without_detection_is_not_shown() -> None:
    async def test(run: Run) -> None:
        viewer = run.hub.viewer()
        viewer.watch({"a": 320}, 30)
        run.frame(unseen=True)
        run.sink.attend()
        assert run.painted == []
        seen = run.frame()
        assert (await run.tile(viewer)).painted.frame == seen.frame.index

    played(test, config_with(privacy={"blur": "all"}))


def test_tiles_fall_first_on_overload() -> None:
    used_s, spent_s, painted = 0.0, 0.0, 0
    budget = TileBudget(lambda: used_s, cpus=2)

    def passed(overloaded_at_s: float, second: int) -> float:
        """Let the models use two processors for a second, and paint what the budget allows; 5 ms a tile. Returns its time."""
        nonlocal used_s, spent_s, painted
        budget.update(second, overloaded_at_s=overloaded_at_s, spent_s=spent_s, painted=painted, cameras=16)
        made = round(16 * min(8.0, 1 / budget.interval_s if budget.interval_s else 8.0))
        used_s, spent_s, painted = used_s + 2 + made * 0.005, spent_s + made * 0.005, painted + made
        return made * 0.005

    unlimited = passed(0, 0)
    for second in range(1, 60):  # frames are dropped
        spent = passed(second, second)
    assert spent == pytest.approx(2 * OVERLOADED_SHARE, abs=0.006)
    assert spent < unlimited / 10
    for second in range(60, 240):  # none are dropped any more
        spent = passed(59, second)
    assert spent > 10 * 2 * OVERLOADED_SHARE


def test_an_overloaded_machine_paints_each_camera_in_turn() -> None:
    async def test(run: Run) -> None:
        viewer = run.hub.viewer()
        viewer.watch({"a": 320, "b": 320}, 1000)
        run.hub.budget.interval_s = 1000.0
        for camera in "abab":
            run.frame(camera)
        await run.until(lambda: not run.hub._busy)
        assert sorted(run.painted) == ["a", "b"]
        for _ in range(2):
            tile = await run.tile(viewer)
            assert viewer.acknowledge(tile.painted.camera, tile.painted.frame)
        run.frame("a")
        assert run.hub.skipped_overload == 1

    assert len(played(test).painted) == 2


def test_a_frame_that_cannot_be_encoded_holds_up_no_other_camera() -> None:
    """JPEG ends at 65535 pixels."""

    async def test(run: Run) -> None:
        viewer = run.hub.viewer()
        viewer.watch({"wide": NATIVE, "a": 320}, 30)
        wide = replace(make_frame(1, 70_000, 2, "wide"), captured_at_s=monotonic())
        run.write(wide, FrameResult.of(wide, (), (), {}))
        assert (await run.next_tile(viewer)).painted.camera == "a"
        await run.until(lambda: run.hub.wants("wide"))

    played(test)


def test_few_ended_videos_of_many_keep_their_last_frame() -> None:
    async def test(run: Run) -> None:
        for number in range(40):
            run.frame(f"video {number}")
            run.sink.source_ended(f"video {number}")
        assert list(run.sink._newest) == [f"video {number}" for number in range(24, 40)]
        viewer = run.hub.viewer()
        viewer.watch({"video 39": 320}, 30)
        run.sink.attend()
        assert (await run.tile(viewer)).painted.camera == "video 39"

    played(test)


def test_a_removed_camera_leaves_no_frame() -> None:
    async def test(run: Run) -> None:
        run.frame()
        run.state(SourceState.ENDED, SourceState.ONLINE)
        run.sink.source_removed("a")
        viewer = run.hub.viewer()
        viewer.watch({"a": 320}, 30)
        run.sink.attend()
        assert run.painted == []

    played(test)
