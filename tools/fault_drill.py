#!/usr/bin/env python3
"""Let cameras, networks, disks, displays and models fail, and see whether the program keeps what it promises.

python tools/fault_drill.py --short                                           under 3 minutes, part of the tests
python tools/fault_drill.py --minutes 60 --report docs/fault-drill.md         all of it, with an hour of four cameras

Needs a checkout, requirements-dev.txt, ffmpeg, and gst-rtsp-server with its Python bindings (see .ci/run).
Exit code 0: every case has passed, or could not be tried here; 1: one has failed.
"""

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.drill.inside import files, slowness  # noqa: E402
from tests.drill.machine import recordings, refusals, secrets, webcams  # noqa: E402
from tests.drill.network import network  # noqa: E402
from tests.drill.soak import soak  # noqa: E402
from tests.drill.table import Table  # noqa: E402

CLIP = ROOT / "assets" / "demo.mp4"
SHORT_AWAY_S = (5.0,)
LONG_AWAY_S = (5.0, 60.0)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="leave out the long absence of a camera and the soak")
    parser.add_argument(
        "--minutes", type=float, default=5.0, metavar="N", help="how long four cameras are watched; 5; 0: not at all"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the table as Markdown")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="keep logs, records and recordings in this empty folder")
    return parser


def main() -> int:
    arguments = build_parser().parse_args()
    table = Table()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        scenes = {
            "network": partial(network, away_s=SHORT_AWAY_S if arguments.short else LONG_AWAY_S),
            **{scene.__name__: scene for scene in (recordings, slowness, refusals, webcams, files)},
        }
        with ThreadPoolExecutor(2) as pool:  # most of the time is spent waiting
            running = [pool.submit(scene, table, folder / name, CLIP) for name, scene in scenes.items()]
        for each in running:
            each.result()
        if not arguments.short and arguments.minutes > 0:
            soak(table, folder / "soak", CLIP, arguments.minutes)
        secrets(table, folder)
    if arguments.report:
        arguments.report.write_text(table.report(sys.argv[1:]))
    print(f"{len(table.rows)} cases, {sum(row.result == 'FAIL' for row in table.rows)} failed")
    return 0 if table.has_passed else 1


if __name__ == "__main__":
    sys.exit(main())
