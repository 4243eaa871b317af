#!/usr/bin/env python3
"""Let cameras, disks, displays and models fail, and see whether the program keeps what it promises.

python tools/fault_drill.py --short
"""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.drill.network import network  # noqa: E402
from tests.drill.table import Table  # noqa: E402

if __name__ == "__main__":
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        network(table, Path(folder) / "network", ROOT / "assets" / "demo.mp4")
    print(table.markdown())
    sys.exit(0 if table.has_passed else 1)
