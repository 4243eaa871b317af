import pytest
import torch

from maskstream.training.calibration import fit_logistic, fit_temperature


def test_the_temperature_that_was_applied_is_found() -> None:
    generator = torch.Generator().manual_seed(0)
    honest = torch.randn(20_000, 3, generator=generator) * 2
    is_positive = torch.rand(20_000, generator=generator) < honest.softmax(1)[:, 0]
    assert fit_temperature(honest * 2.5, is_positive, 0) == pytest.approx(2.5, rel=0.05)


def test_the_logistic_that_was_applied_is_found() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, generator=generator) * 3 + 4
    is_right = torch.rand(20_000, generator=generator) < torch.sigmoid(0.5 * logits - 1.5)
    assert fit_logistic(logits, is_right) == pytest.approx((0.5, -1.5), abs=0.12)
