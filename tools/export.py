#!/usr/bin/env python3
"""Export a model to ONNX or OpenVINO, with its metadata, for edge devices.

python tools/export.py --weights weights/face_mobilenet.safetensors --out face.onnx
python tools/export.py --weights weights/mask_mobilenet.safetensors --out mask.xml
run_stream.py --source clip.mp4 --set detector.weights=face.onnx --classifier mask.xml
"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.cli.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    return run_command("export", argv, "tools/export.py")


if __name__ == "__main__":
    sys.exit(main())
