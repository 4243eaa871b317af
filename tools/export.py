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

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.errors import ConfigError, MaskStreamError
from maskstream.models import CROP_ARCHITECTURES, face_mobilenet
from maskstream.models.backends import export
from maskstream.models.checkpoint import load_checkpoint, to_header
from maskstream.models.crop_classifier import CropProbabilities, MaskClassifier
from maskstream.models.exported import SUFFIXES, write_exported
from maskstream.models.keypoint_rcnn import DetectorOptions
from maskstream.models.whole import whole_signature
from run_stream import Parser

CPU = torch.device("cpu")


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(description="Export a model, with its metadata inside.", allow_abbrev=False)
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE", help="a .safetensors file of ours")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="ends in .onnx, or in .xml for OpenVINO")
    parser.add_argument(
        "--max-faces", type=int, default=100, metavar="N", help="most faces that a detector will find in a picture"
    )
    return parser


def export_weights(weights: Path, max_faces: int) -> tuple[bytes, dict[str, str]]:
    """Return the graph of a model and its metadata."""
    state_dict, metadata = load_checkpoint(weights, face_mobilenet.NAME, *CROP_ARCHITECTURES)
    if metadata.architecture == face_mobilenet.NAME:
        detector = face_mobilenet.load(DetectorOptions(CPU, 0.0, max_faces, weights=str(weights)))
        return export(detector.whole(), *whole_signature()), to_header(metadata)
    module = CROP_ARCHITECTURES[metadata.architecture].restore(state_dict, metadata, str(weights))
    classifier = MaskClassifier(module, metadata, CPU)
    return export(classifier.probabilities, *CropProbabilities.signature(metadata.input_size)), to_header(metadata)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    try:
        if arguments.out.suffix.lower() not in SUFFIXES:
            raise ConfigError(f"--out: {arguments.out} is no name for an exported model; let it end in {' or '.join(SUFFIXES)}")
        if arguments.max_faces < 1:
            raise ConfigError(f"--max-faces: {arguments.max_faces} is not allowed; give 1 or more")
        write_exported(arguments.out, *export_weights(arguments.weights, arguments.max_faces))
    except MaskStreamError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    written = [arguments.out, *([arguments.out.with_suffix(".bin")] if arguments.out.suffix.lower() == ".xml" else [])]
    print(f"{' and '.join(map(str, written))}: {sum(path.stat().st_size for path in written) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
