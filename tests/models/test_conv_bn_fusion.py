from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import nn
from torchvision.models import resnet18, resnet50
from torchvision.ops import FrozenBatchNorm2d

from maskstream.models import face_mobilenet_network, mask_mobilenet
from maskstream.models.conv_bn_fusion import fold_batch_norm, quicken_training


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


def trained_backbone() -> nn.Module:
    """Return a backbone in training, its first convolution frozen."""
    backbone: nn.Module = face_mobilenet_network.build_module().backbone.train()
    give_statistics(backbone)
    backbone.get_submodule("body.0").requires_grad_(requires_grad=False)
    return backbone


def gradients(network: nn.Module, precision: torch.dtype) -> dict[str, torch.Tensor | None]:
    """Return the gradient of each parameter by its name."""
    image = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", precision, enabled=precision is not torch.float32):
        answer = network(image)
    answers = [answer] if isinstance(answer, torch.Tensor) else list(answer.values())
    torch.stack([each.float().square().mean() for each in answers]).sum().backward()  # type: ignore[no-untyped-call]
    found = {name: parameter.grad for name, parameter in network.named_parameters()}
    network.zero_grad()
    return found


def error(found: dict[str, torch.Tensor | None], expected: dict[str, torch.Tensor | None]) -> float:
    """Return the mean of the relative errors of all gradients."""
    pairs = [(one, other) for one, other in zip(found.values(), expected.values(), strict=True) if one is not None]
    return sum(float((one - other).norm() / other.norm()) for one, other in pairs if other is not None) / len(pairs)


def test_norms_applied_early_change_neither_gradients_nor_names() -> None:
    plain = trained_backbone()
    early = deepcopy(plain)
    quicken_training(early)
    early = deepcopy(early)  # as for the moving average of the weights
    assert early.state_dict().keys() == plain.state_dict().keys()
    expected, found = gradients(plain, torch.float32), gradients(early, torch.float32)
    assert expected.keys() == found.keys()
    assert {name for name, each in expected.items() if each is None} == {name for name, each in found.items() if each is None}
    assert expected["body.0.0.weight"] is None
    assert error(found, expected) < 1e-4
    in_bfloat16 = error(gradients(early, torch.bfloat16), expected)
    assert 0 < in_bfloat16 < 2 * error(gradients(plain, torch.bfloat16), expected)


def test_norms_that_are_trained_keep_their_gradients() -> None:
    plain = mask_mobilenet.build_network(4).train()
    plain.get_submodule("classifier.0").eval()  # dropout
    give_statistics(plain)
    quick = deepcopy(plain)
    quicken_training(quick)
    assert quick.state_dict().keys() == plain.state_dict().keys()
    expected, found = gradients(plain, torch.float32), gradients(quick, torch.float32)
    assert all(gradient is not None for gradient in found.values())
    assert error(found, expected) < 1e-4
    in_bfloat16 = error(gradients(quick, torch.bfloat16), expected)
    assert 0 < in_bfloat16 < 2 * error(gradients(plain, torch.bfloat16), expected)


@torch.inference_mode()
def test_norms_applied_early_can_be_folded() -> None:
    network = face_mobilenet_network.build_module().backbone.eval()
    give_statistics(network)
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    before = network(image)
    quicken_training(network)
    fold_batch_norm(network)
    assert not any(isinstance(part, FrozenBatchNorm2d) for part in network.modules())
    assert {type(part) for part in network.modules() if isinstance(part, nn.Conv2d)} == {nn.Conv2d}
    for level, old in before.items():
        assert torch.allclose(old, network(image)[level], rtol=1e-3, atol=1e-4 * float(old.abs().max()))
    folded = network(image)
    quicken_training(network)
    assert all(torch.equal(network(image)[level], old) for level, old in folded.items())
