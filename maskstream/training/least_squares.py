"""Leave channels of a linear layer out so that its output changes least, by least squares over samples."""

from dataclasses import dataclass
from typing import Final

import torch

_RIDGE: Final = 1e-4
"""Added to the diagonal of the covariance, as a fraction of its mean: channels that are always 0 have no inverse."""
_FLAT: Final = 0.05
"""Part of a basis that is chosen by the samples alone, without the weights of the layers that read it."""


@dataclass(frozen=True)
class Reduced:
    """A linear layer that reads fewer channels."""

    channels: torch.Tensor
    """(K,) int64: the channels that it reads, ascending."""
    weight: torch.Tensor
    """(T, K) float32."""
    bias: torch.Tensor
    """(T,) float32."""
    unexplained: float
    """Sum of its squared errors, as a fraction of the variance of the targets."""


def eliminate(inputs: torch.Tensor, targets: torch.Tensor, kept: int) -> Reduced:
    """Leave channels out one by one, each time the one without which the remaining ones predict the targets best.

    After each step all weights are those of the least-squares solution. Hassibi and Stork, "Optimal Brain Surgeon" (1993).

    Args:
        inputs: (N, C) samples of the channels.
        targets: (N, T) what the layer has to answer.
        kept: K, the number of channels that remain; at least 1.
    """
    x, y = inputs.double(), targets.double()
    x_mean, y_mean = x.mean(0), y.mean(0)
    x, y = x - x_mean, y - y_mean
    covariance, shared = x.T @ x / len(x), x.T @ y / len(x)
    covariance += _RIDGE * covariance.diagonal().mean().clamp(min=1e-12) * torch.eye(len(covariance), dtype=x.dtype)
    inverse = torch.linalg.inv(covariance)
    weights = inverse @ shared
    is_kept = torch.ones(len(covariance), dtype=torch.bool)
    for _ in range(len(covariance) - kept):
        losses = torch.where(is_kept, weights.square().sum(1) / inverse.diagonal(), torch.inf)
        worst = int(losses.argmin())
        pivot, column, row = inverse[worst, worst].clone(), inverse[:, worst].clone(), weights[worst].clone()
        weights -= torch.outer(column, row) / pivot
        inverse -= torch.outer(column, column) / pivot
        is_kept[worst] = False
        inverse[worst, worst] = 1.0  # its row and column are 0 now
    channels = is_kept.nonzero()[:, 0]
    best = torch.linalg.solve(covariance[channels][:, channels], shared[channels])
    error = (x[:, channels] @ best - y).square().sum() / y.square().sum().clamp(min=1e-12)
    return Reduced(channels, best.T.float().contiguous(), (y_mean - x_mean[channels] @ best).float(), float(error))


def narrow_basis(samples: torch.Tensor, readers: list[torch.Tensor], width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return matrices that encode C channels in fewer, and decode these, so that convolutions that read them change least.

    The samples' mean is not subtracted: a convolution that pads with zeros could not undo this.

    Args:
        samples: (N, C) of the channels.
        readers: Weights (O, C, H, W) of the convolutions that read them. All count the same.
        width: Number of channels W of the encoding.

    Returns:
        Encoder (W, C) and decoder (C, W), float32.
    """
    sensitivity = torch.zeros(samples.shape[1], samples.shape[1], dtype=torch.float64)
    for weight in readers:
        of_reader = torch.einsum("oihw,ojhw->ij", weight.double(), weight.double())
        sensitivity += of_reader / of_reader.trace()
    sensitivity = sensitivity / sensitivity.trace() * len(sensitivity) + _FLAT * torch.eye(len(sensitivity), dtype=torch.float64)
    values, vectors = torch.linalg.eigh(sensitivity)
    root, inverse = (vectors * values.sqrt()) @ vectors.T, (vectors / values.sqrt()) @ vectors.T
    weighted = samples.double() @ root
    main = torch.linalg.eigh(weighted.T @ weighted)[1][:, -width:]
    return (main.T @ root).float().contiguous(), (inverse @ main).float().contiguous()
