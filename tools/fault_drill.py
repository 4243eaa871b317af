#!/usr/bin/env python3
"""Let cameras, networks, disks, displays and models fail, and see whether the program keeps what it promises.

python tools/fault_drill.py --core                                            20 s, part of make test
python tools/fault_drill.py --short                                           under 3 minutes
python tools/fault_drill.py --minutes 60 --report out/fault-drill.md          all of it, with an hour of four cameras

Needs a checkout, requirements-dev.txt, ffmpeg, and gst-rtsp-server with its Python bindings (see .ci/run).
Exit code 0: every case has passed, or could not be tried here; 1: one has failed.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.cli.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    return run_command("fault-drill", argv, "tools/fault_drill.py")


if __name__ == "__main__":
    sys.exit(main())
