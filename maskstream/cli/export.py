"""Run `maskstream export`: write a model with its metadata as ONNX or for OpenVINO, for edge devices."""

import argparse
from pathlib import Path

from maskstream.errors import ConfigError
from maskstream.io.resources import own_or_shipped

OUT_HELP = (
    "output: .onnx, or .xml for OpenVINO; default: beside the weights, where the program finds it and starts without PyTorch"
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the weights and the output."""
    parser.add_argument(
        "--weights", type=own_or_shipped, required=True, metavar="FILE", help="weights of maskstream, .safetensors"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help=OUT_HELP)
    parser.add_argument(
        "--max-faces", type=int, metavar="N", help="maximum number of faces that a detector finds in an image; default: 100"
    )


def run(arguments: argparse.Namespace) -> int:
    """Export the model and print the written files."""
    from maskstream.io.files import one_line
    from maskstream.io.user_folders import lend_folders
    from maskstream.models.backends import EXPORTED_FACES, shipped_graph_path
    from maskstream.models.exported_model import export_weights, write_exported
    from maskstream.models.metadata import add_to_manifest

    max_faces = EXPORTED_FACES if arguments.max_faces is None else arguments.max_faces
    _require_possible(arguments.out, max_faces)
    lend_folders()
    content, properties = export_weights(arguments.weights, max_faces)
    out = arguments.out or shipped_graph_path(arguments.weights)
    write_exported(out, content, properties)
    if arguments.out is None:
        add_to_manifest(out)
    written = [out, out.with_suffix(".bin")] if out.suffix.lower() == ".xml" else [out]
    megabytes = sum(path.stat().st_size for path in written) / 1e6
    print(f"{' and '.join(one_line(str(path)) for path in written)}: {megabytes:.1f} MB")
    return 0


def _require_possible(out: Path | None, max_faces: int) -> None:
    """Refuse a number of faces and a file name that cannot be exported."""
    from maskstream.models.backends import EXPORTED_FACES
    from maskstream.models.exported_model import SUFFIXES

    if max_faces < 1:
        raise ConfigError(f"--max-faces: {max_faces} is not allowed; give 1 or more")
    if out is None and max_faces != EXPORTED_FACES:
        raise ConfigError(f"--max-faces: {max_faces} needs --out; the graph beside the weights has {EXPORTED_FACES}")
    if out is not None and out.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--out: {out} is not the name of an exported model; it must end in {' or '.join(SUFFIXES)}")
