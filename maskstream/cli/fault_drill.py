"""Make cameras, networks, disks and models fail, and check every promise (`maskstream fault-drill`).

The cases are in tests/drill: the command needs a checkout, requirements-dev.txt, ffmpeg,
and gst-rtsp-server with its Python bindings (see .ci/run).
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from maskstream.errors import ConfigError
from maskstream.io.files import replace_file

ROOT: Final = Path(__file__).resolve().parents[2]
SHORT_AWAY_S: Final = (5.0,)
LONG_AWAY_S: Final = (5.0, 60.0)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the drill: its extent and its outputs."""
    parser.add_argument("--core", action="store_true", help="20 s: only a lost and found camera, and the ends of runs")
    parser.add_argument("--short", action="store_true", help="leave out the long absence of a camera and the soak test")
    parser.add_argument(
        "--minutes", type=float, default=5.0, metavar="N", help="minutes of the soak test with four cameras; 0: none; default: 5"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the table of cases as Markdown")
    parser.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        help="keep logs, records and recordings in this empty folder; default: a temporary one",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run every case; return 0 if each passed or could not be tried on this machine, 1 if one failed."""
    if not (ROOT / "tests" / "drill").is_dir():
        raise ConfigError("fault-drill: tests/drill does not exist here; in a checkout, run python tools/fault_drill.py")
    with tempfile.TemporaryDirectory() as temporary:
        return drill(arguments, arguments.folder or Path(temporary))


def drill(arguments: argparse.Namespace, folder: Path) -> int:
    """Run all cases with files in this folder, and print the results."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from tests.drill.anonymised import anonymised
    from tests.drill.child import calibrate
    from tests.drill.core import ends, lost_and_found
    from tests.drill.deliveries import deliveries
    from tests.drill.editing import editing
    from tests.drill.exposure import exposure
    from tests.drill.inside import files, slowness
    from tests.drill.machine import recordings, refusals, secrets, webcams
    from tests.drill.network import network
    from tests.drill.soak import soak
    from tests.drill.table import Table

    clip = ROOT / "assets" / "demo.mp4"
    table = Table(calibrate(clip))
    print(f"before the drill {table.machine}")
    scenes: dict[str, Callable[[Table, Path, Path], object]] = {
        "network": partial(network, away_s=SHORT_AWAY_S if arguments.short else LONG_AWAY_S),
        **{
            scene.__name__: scene
            for scene in (recordings, editing, anonymised, slowness, refusals, webcams, files, exposure, deliveries)
        },
    }
    if arguments.core:
        scenes = {scene.__name__: scene for scene in (lost_and_found, ends)}
    with ThreadPoolExecutor(2) as pool:  # the cases mostly wait
        running = [pool.submit(scene, table, folder / name, clip) for name, scene in scenes.items()]
    for each in running:
        each.result()
    if not (arguments.short or arguments.core) and arguments.minutes > 0:
        soak(table, folder / "soak", clip, arguments.minutes)
    secrets(table, folder)
    if arguments.report:
        replace_file(arguments.report, table.report(arguments.given).encode())
    print(f"{len(table.rows)} cases, {sum(row.result == 'FAIL' for row in table.rows)} failed")
    return 0 if table.has_passed else 1
