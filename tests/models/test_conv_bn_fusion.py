from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision.models import resnet18, resnet50
from torchvision.ops import FrozenBatchNorm2d

from maskstream.models import face_mobilenet_network
from maskstream.models.conv_bn_fusion import fold_batch_norm


def give_statistics(module: nn.Module) -> None:
    """Let batch norms do something, as in a trained network."""
    generator = torch.Generator().manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, FrozenBatchNorm2d | nn.BatchNorm2d):
            for values, low, high in (
                (norm.running_mean, -0.2, 0.2),
                (norm.running_var, 0.5, 2),
                (norm.weight, 0.5, 1.5),
                (norm.bias, -0.2, 0.2),
            ):
                values.data.uniform_(low, high, generator=generator)


@pytest.mark.parametrize(
    "build",
    [
        lambda: resnet18(weights=None),
        lambda: resnet50(weights=None, norm_layer=FrozenBatchNorm2d),
        lambda: face_mobilenet_network.build_module().backbone,
    ],
    ids=["resnet18", "frozen resnet50", "face_mobilenet"],
)
@torch.inference_mode()
def test_a_folded_network_says_the_same(build: Callable[[], nn.Module]) -> None:
    network = build().eval()
    give_statistics(network)
    image = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(1))
    before = network(image)
    fold_batch_norm(network)
    after = network(image)
    assert not any(isinstance(part, FrozenBatchNorm2d | nn.BatchNorm2d) for part in network.modules())
    pairs = [(before, after)] if isinstance(before, torch.Tensor) else [(before[key], after[key]) for key in before]
    for old, new in pairs:
        assert torch.allclose(old, new, rtol=1e-3, atol=1e-4 * float(old.abs().max()))
        assert old.std() > 0
