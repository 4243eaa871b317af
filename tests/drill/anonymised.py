"""Faces stay anonymised when a camera reconnects with another frame size."""

import time
from pathlib import Path
from typing import Final

import av
import numpy as np

from maskstream.types import BgrImage
from tests.drill.cameras import RtspCamera, feeder, one_camera
from tests.drill.child import Child, child, expect
from tests.drill.network import BACK_WITHIN_S
from tests.drill.table import Table
from tests.ports import free_udp_ports

_MODEL: Final = ("--set", "detector.short_side=192")
_FILL: Final = 112
_FRAMES: Final = 6
_RETURNS: Final = 3
_MIN_FILLED: Final = 0.5
"""Of the usual grey area of a frame with anonymised faces; a frame with less shows a face."""


def anonymised(table: Table, folder: Path, clip: Path) -> None:
    """Reconnect a camera with another frame size, and with the first one again; check every recorded frame."""
    promised = "no frame of its recordings shows a face"
    with table.case("another resolution on reconnect, under privacy.blur=all", promised) as row:
        (other_port,) = free_udp_ports(1)
        output = folder / "recordings"
        arguments = ("--output", output / "camera.mp4", "--set", "privacy.blur=all", "--set", "overlay.labels=false")
        folder.mkdir(parents=True)
        output.mkdir()
        with (
            one_camera(clip) as camera,
            feeder(clip, [other_port], "640:360", 10),
            child(table.machine, folder, "--source", camera.url(), *arguments, *_MODEL) as run,
        ):
            run.wait_for_frames(_FRAMES)
            for _ in range(_RETURNS):
                other_port, camera.feed_port = camera.feed_port, other_port
                _reconnect(run, camera)
            run.leave()
        filled = {path.name: [grey(each) for each in images(path)] for path in sorted(output.iterdir())}
        usual = float(np.median([share for shares in filled.values() for share in shares]))
        plain = max(grey(each) for each in images(clip))
        expect(plain < _MIN_FILLED * usual, f"the clip itself is grey: {plain:.1%}, anonymised {usual:.1%}")
        bare = {name: [n for n, share in enumerate(shares) if share < _MIN_FILLED * usual] for name, shares in filled.items()}
        expect(not any(bare.values()), f"faces are visible in frames {bare}")
        expect(len(filled) > _RETURNS, f"only {len(filled)} recordings")
        row.saw(f"{sum(map(len, filled.values()))} frames in {len(filled)} recordings, all anonymised")


def _reconnect(run: Child, camera: RtspCamera) -> None:
    known = len(run.changes())
    camera.off()
    time.sleep(1)
    camera.on()
    run.wait_for_state("online", within_s=BACK_WITHIN_S, after=known)
    run.wait_for_frames(_FRAMES)


def images(path: Path) -> list[BgrImage]:
    """Return all frames of a video, (H, W, 3) uint8 BGR."""
    with av.open(str(path)) as container:
        return [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in container.decode(video=0)]


def grey(bgr: BgrImage) -> float:
    """Return the fraction of an image with the grey of anonymised faces."""
    return float((np.abs(bgr.astype(int) - _FILL).max(2) < 5).mean())
