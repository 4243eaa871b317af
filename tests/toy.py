"""What a small checkpoint says of itself. Nothing here needs PyTorch."""

from typing import Final

from maskstream.models.metadata import Metadata

TOY_METADATA: Final = Metadata(
    architecture="toy",
    input_size=112,
    mean=(0.5, 0.5, 0.5),
    std=(0.2, 0.2, 0.2),
    class_names=("mask", "no_mask"),
    temperature=1.25,
    training_command="train it",
    data_manifest_sha256=None,
    figures={"accuracy": 0.9},
    licence="MIT",
)
