#!/usr/bin/env python3
"""Export a model to ONNX or to OpenVINO's format, with its metadata inside: the way onto edge devices.

python tools/export.py --weights weights/face_mobilenet.safetensors --out face.onnx
python tools/export.py --weights weights/mask_mobilenet.safetensors --out mask.xml
run_stream.py --source clip.mp4 --set detector.weights=face.onnx --classifier mask.xml
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.errors import ConfigError, MaskStreamError
from maskstream.models.backends import EXPORTED_FACES, graph_beside
from maskstream.models.exported import SUFFIXES, export_weights, write_exported
from maskstream.models.metadata import enter_into_manifest
from run_stream import Parser


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(description="Export a model, with its metadata inside.", allow_abbrev=False)
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE", help="a .safetensors file of ours")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="ends in .onnx, or in .xml for OpenVINO; default: beside the weights, from where the program starts without PyTorch",
    )
    parser.add_argument(
        "--max-faces", type=int, default=EXPORTED_FACES, metavar="N", help="most faces that a detector will find in a picture"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    try:
        if arguments.max_faces < 1:
            raise ConfigError(f"--max-faces: {arguments.max_faces} is not allowed; give 1 or more")
        if arguments.out is None and arguments.max_faces != EXPORTED_FACES:
            raise ConfigError(
                f"--max-faces: {arguments.max_faces} needs --out; beside the weights there is room for {EXPORTED_FACES} alone"
            )
        if arguments.out is not None and arguments.out.suffix.lower() not in SUFFIXES:
            raise ConfigError(f"--out: {arguments.out} is no name for an exported model; let it end in {' or '.join(SUFFIXES)}")
        content, properties = export_weights(arguments.weights, arguments.max_faces)
        out = arguments.out or graph_beside(arguments.weights)
        write_exported(out, content, properties)
        if arguments.out is None:
            enter_into_manifest(out)
    except MaskStreamError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    written = [out, *([out.with_suffix(".bin")] if out.suffix.lower() == ".xml" else [])]
    print(f"{' and '.join(map(str, written))}: {sum(path.stat().st_size for path in written) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
