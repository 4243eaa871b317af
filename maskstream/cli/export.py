"""`maskstream export`: a model as ONNX or in OpenVINO's format, with its metadata inside: the way onto edge devices."""

import argparse
from pathlib import Path

from maskstream.errors import ConfigError
from maskstream.io.resources import own_or_shipped

OUT_HELP = (
    "output: .onnx, or .xml for OpenVINO; default: beside the weights, where the program finds it and starts without PyTorch"
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is exported, and where to."""
    parser.add_argument(
        "--weights", type=own_or_shipped, required=True, metavar="FILE", help="weights of maskstream, .safetensors"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help=OUT_HELP)
    parser.add_argument(
        "--max-faces", type=int, metavar="N", help="maximum number of faces that a detector finds in an image; default: 100"
    )


def run(arguments: argparse.Namespace) -> int:
    """Export the model and say what was written."""
    from maskstream.io.files import one_line
    from maskstream.io.user_folders import lend_folders
    from maskstream.models.backends import EXPORTED_FACES, shipped_graph_path
    from maskstream.models.exported_model import SUFFIXES, export_weights, write_exported
    from maskstream.models.metadata import add_to_manifest

    max_faces = EXPORTED_FACES if arguments.max_faces is None else arguments.max_faces
    if max_faces < 1:
        raise ConfigError(f"--max-faces: {max_faces} is not allowed; give 1 or more")
    if arguments.out is None and max_faces != EXPORTED_FACES:
        raise ConfigError(f"--max-faces: {max_faces} needs --out; beside the weights there is room for {EXPORTED_FACES} alone")
    if arguments.out is not None and arguments.out.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--out: {arguments.out} is no name for an exported model; let it end in {' or '.join(SUFFIXES)}")
    lend_folders()
    content, properties = export_weights(arguments.weights, max_faces)
    out = arguments.out or shipped_graph_path(arguments.weights)
    write_exported(out, content, properties)
    if arguments.out is None:
        add_to_manifest(out)
    written = [out, *([out.with_suffix(".bin")] if out.suffix.lower() == ".xml" else [])]
    print(f"{' and '.join(one_line(str(path)) for path in written)}: {sum(path.stat().st_size for path in written) / 1e6:.1f} MB")
    return 0
