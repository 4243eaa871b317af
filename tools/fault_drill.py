#!/usr/bin/env python3
"""Make cameras, networks, disks, displays and models fail, and check every promise.

python tools/fault_drill.py --core                                            20 s, part of make test
python tools/fault_drill.py --short                                           under 3 minutes
python tools/fault_drill.py --minutes 60 --report out/fault-drill.md          everything, with four cameras for an hour

Needs a checkout, requirements-dev.txt, ffmpeg, and gst-rtsp-server with its Python bindings (see .ci/run).
Exit code 0: every case passed or could not be tried on this machine; 1: one failed.
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
