"""The widths of `face_mobilenet`: the shipped one, and narrower ones that are made from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from maskstream.errors import WeightsError

_FIRST_CHANNELS: Final = 32
_OUTPUTS: Final = (16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320)
"""Output channels of the inverted residual blocks of MobileNetV2."""
_HALVING: Final = (2, 4, 7, 14)
"""Blocks, from 1, that halve the picture."""
_BODY: Final = "backbone.body"
_PYRAMID: Final = "backbone.fpn.layer_blocks.0.0.weight"


@dataclass(frozen=True)
class Widths:
    """The numbers of channels that differ between one `face_mobilenet` and another."""

    hidden: tuple[int, ...]
    """Channels of the depthwise convolution in each inverted residual block of MobileNetV2, the one next to the image first.
    Block 1 has no expansion: its number is always that of the first convolution."""
    pyramid: int
    """Channels of the feature pyramid, which the heads read."""
    is_folded: bool = False
    """The convolutions of the backbone have a bias instead of a batch norm."""

    def __post_init__(self) -> None:
        if len(self.hidden) != len(_OUTPUTS) or min(*self.hidden, self.pyramid) < 1 or self.hidden[0] != _FIRST_CHANNELS:
            raise ValueError(
                f"hidden: {self.hidden}, pyramid: {self.pyramid}; give {len(_OUTPUTS)} positive numbers, "
                f"the first {_FIRST_CHANNELS}, and a positive one"
            )

    @classmethod
    def of(cls, state_dict: Mapping[str, Any], origin: str) -> Self:
        """Return the widths of a state dict of tensors or arrays.

        Raises:
            WeightsError: It has no backbone or no pyramid of this architecture.
        """
        names = [f"{_BODY}.{block}.conv.{0 if block == 1 else 1}.0.weight" for block in range(1, len(_OUTPUTS) + 1)]
        try:
            hidden = tuple(int(state_dict[name].shape[0]) for name in names)
            return cls(hidden, int(state_dict[_PYRAMID].shape[0]), f"{_BODY}.0.0.bias" in state_dict)
        except (KeyError, IndexError, ValueError) as error:
            raise WeightsError(
                f"{origin}: weights of another architecture ({error}); choose matching weights or name that model"
            ) from error

    def require_wider(self, other: Self, origin: str) -> None:
        """Raise `WeightsError` where a width is smaller than that of the others."""
        own, narrow = (*self.hidden, self.pyramid), (*other.hidden, other.pyramid)
        if any(one < least for one, least in zip(own, narrow, strict=True)):
            raise WeightsError(f"{origin}: is not wider than the detector to make, {narrow} channels; give wider weights")

    def blocks(self) -> list[list[float]]:
        """Return `inverted_residual_setting` of torchvision, one row per block: expansion, channels, repeats, stride."""
        inputs = (_FIRST_CHANNELS, *_OUTPUTS[:-1])
        rows = enumerate(zip(self.hidden, inputs, _OUTPUTS, strict=True), start=1)
        return [[hidden / inp, out, 1, 2 if number in _HALVING else 1] for number, (hidden, inp, out) in rows]


FULL: Final = Widths(
    hidden=(32, 96, 144, 144, 192, 192, 192, 384, 384, 384, 384, 576, 576, 576, 960, 960, 960),
    pyramid=96,
)
"""torchvision's MobileNetV2, and the widths of the shipped weights."""
SLIM: Final = Widths(
    hidden=(32, 48, 80, 96, 128, 128, 128, 256, 256, 256, 256, 384, 384, 384, 576, 576, 640),
    pyramid=64,
    is_folded=True,
)
"""0.6 of the arithmetic of `FULL`. Most of it is saved in the first blocks, whose pictures are the largest."""
