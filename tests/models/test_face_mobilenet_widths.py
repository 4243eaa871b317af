from dataclasses import replace

import pytest
import torch

from maskstream.errors import WeightsError
from maskstream.models.checkpoint import load_checkpoint
from maskstream.models.face_mobilenet_network import build_like, build_module
from maskstream.models.face_mobilenet_widths import FULL, SLIM, Widths
from tests.command_lines import ROOT

SHIPPED = ROOT / "weights" / "face_mobilenet.safetensors"


def test_the_shipped_weights_have_the_full_widths() -> None:
    state_dict, _ = load_checkpoint(SHIPPED, "face_mobilenet")
    assert Widths.of(state_dict, "shipped") == FULL


@pytest.mark.parametrize("widths", [SLIM, replace(SLIM, is_folded=False), replace(FULL, pyramid=48)])
def test_a_module_is_built_again_with_the_widths_of_its_weights(widths: Widths) -> None:
    state_dict = build_module(widths).state_dict()
    assert Widths.of(state_dict, "built") == widths
    build_like(state_dict, "built").load_state_dict(state_dict)


def test_a_narrow_module_has_the_hidden_channels_and_finds_in_an_image() -> None:
    module = build_module(SLIM).eval()
    depthwise = [conv for conv in module.backbone.body.modules() if isinstance(conv, torch.nn.Conv2d) and conv.groups > 1]
    assert tuple(conv.out_channels for conv in depthwise) == SLIM.hidden
    with torch.inference_mode():
        found = module([torch.rand(3, 96, 128)])[0]
    assert found["keypoints"].shape[1:] == (3, 3)


def test_other_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="give 17 positive numbers, the first 32, and a positive one"):
        Widths(SLIM.hidden[:-1], 64)
    with pytest.raises(ValueError, match="pyramid: 0"):
        Widths(SLIM.hidden, 0)
    with pytest.raises(WeightsError, match=r"other\.safetensors: weights of another architecture"):
        Widths.of({"backbone.body.0.0.weight": torch.zeros(32, 3, 3, 3)}, "other.safetensors")


def test_a_detector_is_wider_only_where_no_width_is_smaller() -> None:
    FULL.require_wider(SLIM, "full")
    with pytest.raises(WeightsError, match="slim: is not wider than the detector to make"):
        SLIM.require_wider(replace(SLIM, pyramid=65), "slim")
