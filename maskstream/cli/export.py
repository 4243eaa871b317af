"""Run `maskstream export`: write a model with its metadata as ONNX or for OpenVINO, for edge devices."""

import argparse
from pathlib import Path

from maskstream.cli.parser import at_least
from maskstream.errors import ConfigError
from maskstream.io.resources import own_or_shipped

OUT_HELP = (
    "output: .onnx, or .xml for OpenVINO; default: beside the weights, where the program finds it and starts without PyTorch"
)

INT8_HELP = (
    "quantise to int8 for OpenVINO, with images of this folder as examples (crops for a classifier); needs pip install "
    "'maskstream[int8]'; default output: beside the weights, where a run with precision auto finds it"
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the weights and the output."""
    parser.add_argument(
        "--weights", type=own_or_shipped, required=True, metavar="FILE", help="weights of maskstream, .safetensors"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help=OUT_HELP)
    parser.add_argument(
        "--max-faces",
        type=at_least(1),
        metavar="N",
        help="maximum number of faces that a detector finds in an image; default: 100",
    )
    parser.add_argument("--int8", type=Path, metavar="IMAGES", help=INT8_HELP)


def run(arguments: argparse.Namespace) -> int:
    """Export the model and print the written files."""
    from maskstream.io.files import one_line
    from maskstream.io.user_folders import lend_folders
    from maskstream.models.backends import EXPORTED_FACES, int8_graph_path, shipped_graph_path
    from maskstream.models.exported_model import export_weights, files_of, write_exported, write_quantized
    from maskstream.models.metadata import add_to_manifest

    max_faces = EXPORTED_FACES if arguments.max_faces is None else arguments.max_faces
    _require_possible(arguments.out, max_faces, int8=arguments.int8 is not None)
    lend_folders()
    content, properties = export_weights(arguments.weights, max_faces)
    if arguments.int8 is None:
        out = arguments.out or shipped_graph_path(arguments.weights)
        write_exported(out, content, properties)
    else:
        out = arguments.out or int8_graph_path(arguments.weights)
        write_quantized(out, content, properties, arguments.int8)
    written = files_of(out)
    if arguments.out is None:
        for path in written:
            add_to_manifest(path)
    megabytes = sum(path.stat().st_size for path in written) / 1e6
    print(f"{' and '.join(one_line(str(path)) for path in written)}: {megabytes:.1f} MB")
    return 0


def _require_possible(out: Path | None, max_faces: int, *, int8: bool) -> None:
    """Refuse a number of faces and a file name that cannot be exported."""
    from maskstream.models.backends import EXPORTED_FACES
    from maskstream.models.exported_model import SUFFIXES

    if out is None and max_faces != EXPORTED_FACES:
        raise ConfigError(f"--max-faces: {max_faces} needs --out; the graph beside the weights has {EXPORTED_FACES}")
    allowed = (".xml",) if int8 else SUFFIXES
    if out is not None and out.suffix.lower() not in allowed:
        raise ConfigError(f"--out: {out} is not the name of an exported model; it must end in {' or '.join(allowed)}")
