"""The drill in 20 seconds: a camera that disconnects and reconnects, and ends of runs and outputs."""

from pathlib import Path

from tests.drill.cameras import one_camera, rtsp_cameras
from tests.drill.child import QUICK_MODEL, child
from tests.drill.inside import raising_sink
from tests.drill.machine import read_only, refused_alone, stopped
from tests.drill.network import killed, left
from tests.drill.table import Table
from tests.servers import LOGIN

_AWAY_S = 1.0


def lost_and_found(table: Table, folder: Path, clip: Path) -> None:
    """Watch two cameras; one disconnects for 1 s."""
    folder.mkdir(parents=True)
    with rtsp_cameras(clip, {"steady": "user", "killed": "anyone"}) as cameras:
        urls = {"steady": cameras["steady"].url(login=LOGIN), "killed": cameras["killed"].url()}
        listed = folder / "cameras.yaml"
        listed.write_text("".join(f"- {{name: {name}, url: '{url}'}}\n" for name, url in urls.items()))
        with child(table.machine, folder, "--source", listed, "--output", folder / "recordings", *QUICK_MODEL) as run:
            run.wait_for_frames(3, "steady")
            killed(table, run, cameras["killed"], _AWAY_S)
            left(table, run, folder, "a camera that had disconnected")


def ends(table: Table, folder: Path, clip: Path) -> None:
    """End runs and outputs by refusals, errors and signals."""
    with one_camera(clip, gop=50, role="user") as camera:
        refused_alone(table, folder, camera)
        read_only(table, folder / "read_only", camera)
        stopped(table, folder / "sigterm", camera)
    with one_camera(clip) as camera:
        raising_sink(table, folder / "raising_sink", camera)
