"""How often the detector looks at a source: the one rule in which `detector.every`, `stream.stride` and `privacy.blur` meet.

Frames are counted as the source gives them, whether they are analysed or not.

- `stream.stride`: frames 0, S, 2S ... are analysed; those between only travel along into the video of a file.
- `detector.every`: of the analysed frames, the detector looks at the first one that is N or more frames after the last that it
  looked at. With a stride of N or more that is every analysed frame: `detector.every` is then without effect.
- `privacy.blur`: where faces are covered, the detector looks at every analysed frame. Somebody may come into the picture
  between two looks.
"""

from collections.abc import Iterator
from math import ceil

from maskstream.config.schema import Config


def covers_faces(config: Config) -> bool:
    """Return whether any faces are covered in pictures."""
    return config.privacy.blur != "none"


def every_of(config: Config) -> int:
    """Return N: the detector looks at no more than every Nth frame of a source."""
    return 1 if covers_faces(config) else config.detector.every


def analysed_per_look(config: Config) -> int:
    """Return how many analysed frames come to one look of the detector."""
    return ceil(every_of(config) / config.stream.stride)


def frames_per_look(config: Config) -> int:
    """Return how many frames of a source come to one look of the detector, those that are not analysed included."""
    return analysed_per_look(config) * config.stream.stride


def remarks(config: Config) -> Iterator[str]:
    """Yield, for the log, where one setting changes what another does."""
    every, stride = config.detector.every, config.stream.stride
    if every > 1 and covers_faces(config):
        yield f"detector.every: {every} is without effect: with privacy.blur the detector looks at every analysed frame"
    elif 1 < every <= stride:
        yield f"detector.every: {every} is without effect: with a stride of {stride} the detector looks at every analysed frame"
    if config.detector.region is not None and covers_faces(config):
        yield "detector.region: the rest of the picture is filled with grey: with privacy.blur only what was looked at is shown"
