"""Measure how many frames a machine can analyse per second, from what its engine did."""

from typing import Final

_WINDOW_S: Final = 2.0
_LEAST_FRAMES: Final = 5
_NEW_WEIGHT: Final = 0.3


class Capacity:
    """The capacity of one engine: frames divided by the time that their analysis took, averaged over some windows of 2 s.

    An engine that has nothing to analyse keeps the capacity that was measured last.
    """

    def __init__(self, probed_fps: float) -> None:
        """Begin with what the models did on images without cameras.

        Args:
            probed_fps: Frames per second.
        """
        self.fps = probed_fps
        self.busy = 0.0
        """The fraction of the time in the models, in [0, 1]."""
        self._last: tuple[float, int, float] | None = None

    def update(self, now_s: float, frames: int, model_s: float) -> None:
        """Take the totals of the engine at a moment.

        Args:
            now_s: The moment, by a monotonic clock.
            frames: Analysed frames since the start of the engine.
            model_s: Seconds in the models since the start of the engine.
        """
        if self._last is None or frames < self._last[1]:  # the first time, or another engine
            self._last = now_s, frames, model_s
            return
        then_s, frames_then, model_s_then = self._last
        if now_s - then_s < _WINDOW_S:
            return
        spent_s, analysed = model_s - model_s_then, frames - frames_then
        self.busy = min(1.0, spent_s / (now_s - then_s))
        if analysed >= _LEAST_FRAMES and spent_s > 0:
            self.fps += _NEW_WEIGHT * (analysed / spent_s - self.fps)
        self._last = now_s, frames, model_s
