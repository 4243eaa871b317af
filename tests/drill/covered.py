"""Faces that are covered stay so when a camera comes back with another picture."""

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
from tests.servers import free_udp_ports

_MODEL: Final = ("--set", "detector.short_side=192")
_FILL: Final = 112
_FRAMES: Final = 6
_RETURNS: Final = 3
_MOST_UNCOVERED: Final = 0.5
"""Of the grey that a picture has where all its faces are covered."""


def covered(table: Table, folder: Path, clip: Path) -> None:
    """Let a camera come back in another size, and again in the first one; look at every frame that was recorded."""
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
                _come_back(run, camera)
            run.leave()
        filled = {path.name: [grey(each) for each in images(path)] for path in sorted(output.iterdir())}
        usual = float(np.median([share for shares in filled.values() for share in shares]))
        plain = max(grey(each) for each in images(clip))
        expect(plain < _MOST_UNCOVERED * usual, f"the clip itself is grey: {plain:.1%}, covered {usual:.1%}")
        bare = {name: [n for n, share in enumerate(shares) if share < _MOST_UNCOVERED * usual] for name, shares in filled.items()}
        expect(not any(bare.values()), f"faces are seen in frames {bare}")
        expect(len(filled) > _RETURNS, f"only {len(filled)} recordings")
        row.saw(f"{sum(map(len, filled.values()))} frames in {len(filled)} recordings, all covered")


def _come_back(run: Child, camera: RtspCamera) -> None:
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
    """Return the share of a picture that has the grey of covered faces."""
    return float((np.abs(bgr.astype(int) - _FILL).max(2) < 5).mean())
