"""Calibrate scores: fit the parameters that turn logits into probabilities, on validation data."""

from collections.abc import Callable

import torch


def fit_temperature(logits: torch.Tensor, is_positive: torch.Tensor, positive_class: int) -> float:
    """Fit the temperature of a softmax for a binary question.

    Guo et al., "On Calibration of Modern Neural Networks" (2017), here with the likelihood of one class against all others.

    Args:
        logits: (N, C) float.
        is_positive: (N,) bool, whether the label is the positive class.
        positive_class: Index of the positive class.

    Returns:
        The temperature that maximises the likelihood.
    """
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    targets, wide_logits = is_positive.double(), logits.double()

    def loss() -> torch.Tensor:
        probability = (wide_logits / log_temperature.exp()).softmax(1)[:, positive_class]
        return torch.nn.functional.binary_cross_entropy(probability.clamp(1e-12, 1 - 1e-12), targets)

    _minimise(loss, [log_temperature])
    return float(log_temperature.detach().exp())


def fit_logistic(logits: torch.Tensor, is_correct: torch.Tensor) -> tuple[float, float]:
    """Fit scale and bias so that sigmoid(scale * logit + bias) is the probability that a prediction is correct.

    Platt, "Probabilistic Outputs for Support Vector Machines" (1999).

    Args:
        logits: (N,) float.
        is_correct: (N,) bool.
    """
    parameters = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    targets, wide_logits = is_correct.double(), logits.double()

    def loss() -> torch.Tensor:
        scaled = parameters[0] * wide_logits + parameters[1]
        return torch.nn.functional.binary_cross_entropy_with_logits(scaled, targets)

    _minimise(loss, [parameters])
    scale, bias = parameters.tolist()
    return scale, bias


def _minimise(loss: Callable[[], torch.Tensor], parameters: list[torch.Tensor]) -> None:
    optimizer = torch.optim.LBFGS(parameters, max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    optimizer.step(closure)  # type: ignore[no-untyped-call]
