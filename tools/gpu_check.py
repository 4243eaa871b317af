#!/usr/bin/env python3
"""Check in one command of at most 8 minutes that a GPU gives the answers of the CPU, and time it.

python tools/gpu_check.py --json gpu.json
python tools/gpu_check.py --images pictures/ --section equivalence --section crops
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.benchmark.gpu_check import main

if __name__ == "__main__":
    sys.exit(main())
