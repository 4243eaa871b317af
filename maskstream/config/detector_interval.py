"""Decide which frames the detector runs on, from `detector.every`, `detector.motion`, `stream.stride` and `privacy.blur`.

All frames of a source are counted, analysed or not.

- `stream.stride`: frames 0, S, 2S ... are analysed. The other frames are only written to the annotated video of a file.
- `detector.every`: the detector runs on an analysed frame that is at least N frames after the last one. With a stride of N or
  more it runs on every analysed frame, and `detector.every` is without effect.
- `privacy.blur`: where faces are anonymised, the detector runs on every analysed frame, because a face may appear between two
  detections.
- `detector.motion`: of these frames, the detector leaves out those in which nothing has changed (`inference.motion_gate`).
"""

from collections.abc import Iterator
from math import ceil

from maskstream.config.schema import Config


def anonymises_faces(config: Config) -> bool:
    """Return whether any faces are anonymised."""
    return config.privacy.blur != "none"


def every_of(config: Config) -> int:
    """Return the minimum number of frames of a source from one detection to the next."""
    return 1 if anonymises_faces(config) else config.detector.every


def may_rest(config: Config, *, is_live: bool) -> bool:
    """Return whether the detector rests while nothing changes in the pictures of a source (`detector.motion`)."""
    if config.detector.motion == "auto":
        return is_live and not anonymises_faces(config)
    return config.detector.motion


def analysed_per_detection(config: Config) -> int:
    """Return the number of analysed frames per detection."""
    return ceil(every_of(config) / config.stream.stride)


def frames_per_detection(config: Config) -> int:
    """Return the number of frames of a source per detection, analysed or not."""
    return analysed_per_detection(config) * config.stream.stride


def remarks(config: Config) -> Iterator[str]:
    """Yield log lines about settings that change the effect of other settings."""
    every, stride = config.detector.every, config.stream.stride
    if every > 1 and anonymises_faces(config):
        yield f"detector.every: {every} is without effect: with privacy.blur the detector runs on every analysed frame"
    elif 1 < every <= stride:
        yield f"detector.every: {every} is without effect: with a stride of {stride} the detector runs on every analysed frame"
    if config.detector.motion is True and anonymises_faces(config):
        yield "detector.motion: true with privacy.blur: while the detector rests, the last frame on which it ran is shown"
    if config.detector.region is not None and anonymises_faces(config):
        yield "detector.region: the rest of the frame is filled with grey: with privacy.blur only the region is shown"
