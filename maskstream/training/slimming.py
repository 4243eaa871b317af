"""Make a narrower `face_mobilenet` of a trained one, as the start of a training with the wider one as `--teacher`.

In each inverted residual block of MobileNetV2 the hidden channels that its output needs least are left out, and the projection
is solved again by least squares, from the inputs that the narrower network has there. He et al., "Channel Pruning for
Accelerating Very Deep Neural Networks" (2017). The pyramid is expressed in fewer channels, and the heads read these.
"""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from loguru import logger
from torch import nn
from torchvision.models.detection import KeypointRCNN

from maskstream.models.conv_bn_fusion import fold_batch_norm
from maskstream.models.face_mobilenet_network import build_module
from maskstream.models.face_mobilenet_widths import Widths
from maskstream.training.least_squares import eliminate, narrow_basis

_POSITIONS: Final = 280
"""Random positions of each image and layer that are samples."""
_LEVELS: Final = ("6", "13", "17")
"""Blocks that the pyramid reads."""


Maps = list[torch.Tensor]
"""Of one level or block, one for each image."""


@torch.no_grad()
def slim(module: KeypointRCNN, widths: Widths, images: Sequence[torch.Tensor], seed: int = 0) -> KeypointRCNN:
    """Return a narrower copy of a trained module, its batch norms folded.

    Args:
        module: A trained `face_mobilenet`; not changed.
        widths: Of the copy; at most those of the module.
        images: (1, 3, H, W) float32, normalised, sides multiples of 32; about 200 images like those of the training.
        seed: Of the positions that are samples.
    """
    wide = deepcopy(module).eval()
    fold_batch_norm(wide)
    narrow = build_module(replace(widths, is_folded=True)).eval()
    sampler = _Sampler(seed)
    levels, narrow_levels = _slim_body(wide.backbone.body, narrow.backbone.body, images, sampler)
    pyramid = _slim_pyramid(wide, narrow.backbone.fpn, levels, narrow_levels, sampler)
    _slim_heads(wide, narrow, images, pyramid, sampler)
    narrow.transform.image_mean, narrow.transform.image_std = module.transform.image_mean, module.transform.image_std
    return narrow


class _Sampler:
    """Draws positions of feature maps."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def rows(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return (P, sum of C) of maps (1, C, H, W) of one size, at the same positions."""
        count = maps[0].shape[-2] * maps[0].shape[-1]
        chosen = torch.from_numpy(self._rng.permutation(count)[:_POSITIONS])
        return torch.cat([each[0].flatten(1)[:, chosen] for each in maps]).T

    def pairs(self, maps: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return samples of two maps of each image at the same positions."""
        each = list(maps)
        rows = torch.cat([self.rows(pair) for pair in each])
        width = each[0][0].shape[1]
        return rows[:, :width], rows[:, width:]


def _convs(module: nn.Module) -> list[Any]:
    return [each for each in module.modules() if isinstance(each, nn.Conv2d)]


def _set(conv: Any, weight: torch.Tensor, bias: torch.Tensor) -> None:
    conv.weight.copy_(weight.reshape(conv.weight.shape))
    conv.bias.copy_(bias)


@dataclass(frozen=True)
class _Pyramid:
    """The feature pyramid of the wide network."""

    levels: list[Maps]
    """The maps of all images on each level."""
    decode: torch.Tensor
    """(C, W): turns the channels of the narrow pyramid into those of the wide one."""


def _slim_body(wide: Any, narrow: Any, images: Sequence[torch.Tensor], sampler: _Sampler) -> tuple[list[Maps], list[Maps]]:
    """Set the blocks of the narrow backbone; return the maps of all images on each level, of the wide and the narrow one."""
    wide_maps, narrow_maps = list(images), list(images)
    levels: list[Maps] = []
    narrow_levels: list[Maps] = []
    for name, block in wide.items():
        outputs = [block(each) for each in wide_maps]
        if len(_convs(block)) == 3:
            _slim_block(name, block, narrow[name], narrow_maps, outputs, sampler)
        else:
            narrow[name].load_state_dict(block.state_dict())
        wide_maps, narrow_maps = outputs, [narrow[name](each) for each in narrow_maps]
        if name in _LEVELS:
            levels.append(wide_maps)
            narrow_levels.append(narrow_maps)
    return levels, narrow_levels


def _slim_block(name: str, wide: Any, narrow: Any, inputs: Maps, outputs: Maps, sampler: _Sampler) -> None:
    hidden = [wide.conv[:2](each) for each in inputs]
    wanted = [after - before if wide.use_res_connect else after for before, after in zip(inputs, outputs, strict=True)]
    expand, depthwise, project = _convs(narrow)
    reduced = eliminate(*sampler.pairs(zip(hidden, wanted, strict=True)), kept=project.in_channels)
    for conv, before in zip((expand, depthwise), _convs(wide)[:2], strict=True):
        _set(conv, before.weight[reduced.channels], before.bias[reduced.channels])
    _set(project, reduced.weight, reduced.bias)
    channels = f"{len(reduced.channels)} of {hidden[0].shape[1]} channels"
    logger.info("block {}: {}, {:.1%} of the variance is lost", name, channels, reduced.unexplained)


def _slim_pyramid(wide: KeypointRCNN, narrow: Any, levels: list[Maps], narrow_levels: list[Maps], sampler: _Sampler) -> _Pyramid:
    """Set the narrow pyramid, in the channels that the heads of the wide network need most."""
    fpn: Any = wide.backbone.fpn
    laterals, outputs = _convs(fpn.inner_blocks), _convs(fpn.layer_blocks)
    lateral_maps = [[conv(each) for each in maps] for conv, maps in zip(laterals, levels, strict=True)]
    merged: list[Maps] = [lateral_maps[-1]]
    for maps in reversed(lateral_maps[:-1]):
        pairs = zip(maps, merged[0], strict=True)
        merged.insert(0, [own + nn.functional.interpolate(upper, size=own.shape[-2:]) for own, upper in pairs])
    pyramid = [[conv(each) for each in maps] for conv, maps in zip(outputs, merged, strict=True)]
    width = narrow.layer_blocks[0][0].out_channels
    encode_inner, decode_inner = narrow_basis(_samples(merged, sampler), [conv.weight for conv in outputs], width)
    readers = [_first_conv(wide.rpn.head), _first_conv(wide.roi_heads.keypoint_head), _box_reader(wide)]
    encode, decode = narrow_basis(_samples(pyramid, sampler), readers, width)
    for conv, maps, before in zip(_convs(narrow.inner_blocks), narrow_levels, lateral_maps, strict=True):
        samples, wanted = sampler.pairs(zip(maps, before, strict=True))
        solved = eliminate(samples, wanted @ encode_inner.T, kept=conv.in_channels)
        _set(conv, solved.weight, solved.bias)
    for conv, of_wide in zip(_convs(narrow.layer_blocks), outputs, strict=True):
        weight = torch.einsum("ao,oihw,ib->abhw", encode, of_wide.weight, decode_inner)
        _set(conv, weight, encode @ of_wide.bias)
    return _Pyramid(pyramid, decode)


def _slim_heads(wide: Any, narrow: Any, images: Sequence[torch.Tensor], pyramid: _Pyramid, sampler: _Sampler) -> None:
    """Set the heads of the narrow network: the first layers read the narrow pyramid, the others are copied."""
    for name in ("keypoint_head", "keypoint_predictor", "box_predictor"):
        state = getattr(wide.roi_heads, name).state_dict()
        if name == "keypoint_head":
            state["0.weight"] = _read_by(state["0.weight"], pyramid.decode)
        getattr(narrow.roi_heads, name).load_state_dict(state)
    box_head = wide.roi_heads.box_head.state_dict()
    box_head["fc6.weight"] = _read_by(_box_reader(wide), pyramid.decode).flatten(1)
    narrow.roi_heads.box_head.load_state_dict(box_head)
    _slim_proposals(wide.rpn.head, narrow, images, pyramid, sampler)


def _slim_proposals(wide: Any, narrow: Any, images: Sequence[torch.Tensor], pyramid: _Pyramid, sampler: _Sampler) -> None:
    """Set the head of the region proposal network, whose hidden channels are reduced too."""
    own = narrow.rpn.head
    weight, bias = _read_by(_first_conv(wide), pyramid.decode), _convs(wide.conv)[0].bias
    answers: list[tuple[torch.Tensor, torch.Tensor]] = []
    for number, image in enumerate(images):
        maps = list(narrow.backbone(image).values())[: len(_LEVELS)]
        for level, map_ in enumerate(maps):
            hidden = nn.functional.conv2d(map_, weight, bias, padding=1).relu()
            before = wide.conv(pyramid.levels[level][number])
            answers.append((hidden, torch.cat([wide.cls_logits(before), wide.bbox_pred(before)], 1)))
    samples, wanted = sampler.pairs(answers)
    spread = wanted.std(0).clamp(min=1e-6)
    solved = eliminate(samples, wanted / spread, kept=own.cls_logits.in_channels)
    _set(_convs(own.conv)[0], weight[solved.channels], bias[solved.channels])
    weight, bias = solved.weight * spread[:, None], solved.bias * spread
    anchors = own.cls_logits.out_channels
    _set(own.cls_logits, weight[:anchors], bias[:anchors])
    _set(own.bbox_pred, weight[anchors:], bias[anchors:])


def _first_conv(head: nn.Module) -> torch.Tensor:
    weight: torch.Tensor = _convs(head)[0].weight
    return weight


def _box_reader(module: Any) -> torch.Tensor:
    """Return the first layer of the box head as the convolution (O, C, S, S) of a region that it is."""
    size = module.roi_heads.box_roi_pool.output_size
    weight: torch.Tensor = module.roi_heads.box_head.fc6.weight
    return weight.reshape(len(weight), -1, *size)


def _read_by(weight: torch.Tensor, decode: torch.Tensor) -> torch.Tensor:
    return torch.einsum("oihw,ib->obhw", weight, decode)


def _samples(levels: list[Maps], sampler: _Sampler) -> torch.Tensor:
    return torch.cat([sampler.rows([each]) for maps in levels for each in maps])
