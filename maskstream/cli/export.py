"""`maskstream export`: a model as ONNX or in OpenVINO's format, with its metadata inside: the way onto edge devices."""

import argparse
from pathlib import Path

from maskstream.errors import ConfigError
from maskstream.resources import own_or_shipped


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is exported, and where to."""
    parser.add_argument("--weights", type=own_or_shipped, required=True, metavar="FILE", help="a .safetensors file of ours")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="ends in .onnx, or in .xml for OpenVINO")
    parser.add_argument(
        "--max-faces", type=int, default=100, metavar="N", help="most faces that a detector will find in a picture"
    )


def run(arguments: argparse.Namespace) -> int:
    """Export the model and say what was written."""
    from maskstream.models.exported import SUFFIXES, write_exported

    if arguments.out.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--out: {arguments.out} is no name for an exported model; let it end in {' or '.join(SUFFIXES)}")
    if arguments.max_faces < 1:
        raise ConfigError(f"--max-faces: {arguments.max_faces} is not allowed; give 1 or more")
    write_exported(arguments.out, *export_weights(arguments.weights, arguments.max_faces))
    written = [arguments.out, *([arguments.out.with_suffix(".bin")] if arguments.out.suffix.lower() == ".xml" else [])]
    print(f"{' and '.join(map(str, written))}: {sum(path.stat().st_size for path in written) / 1e6:.1f} MB")
    return 0


def export_weights(weights: Path, max_faces: int) -> tuple[bytes, dict[str, str]]:
    """Return the graph of a model and its metadata."""
    from maskstream.models import CROP_ARCHITECTURES, face_mobilenet
    from maskstream.models.backends import export
    from maskstream.models.checkpoint import load_checkpoint, to_header
    from maskstream.models.crop_classifier import CropProbabilities, MaskClassifier
    from maskstream.models.keypoint_rcnn import DetectorOptions
    from maskstream.models.whole import whole_signature
    from maskstream.pipeline import pick_device

    cpu = pick_device("cpu")
    state_dict, metadata = load_checkpoint(weights, face_mobilenet.NAME, *CROP_ARCHITECTURES)
    if metadata.architecture == face_mobilenet.NAME:
        detector = face_mobilenet.load(DetectorOptions(cpu, 0.0, max_faces, weights=str(weights)))
        return export(detector.whole(), *whole_signature()), to_header(metadata)
    module = CROP_ARCHITECTURES[metadata.architecture].restore(state_dict, metadata, str(weights))
    classifier = MaskClassifier(module, metadata, cpu)
    return export(classifier.probabilities, *CropProbabilities.signature(metadata.input_size)), to_header(metadata)
