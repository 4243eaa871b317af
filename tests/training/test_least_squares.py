import pytest
import torch
from torch.nn.functional import conv2d

from maskstream.training.least_squares import eliminate, narrow_basis


def samples(channels: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(400, channels, generator=torch.Generator().manual_seed(seed))


def test_channels_that_the_targets_do_not_need_are_left_out() -> None:
    inputs = samples(8)
    weight = torch.zeros(3, 8)
    weight[:, [1, 4, 6]] = torch.tensor([[1.0, -2.0, 0.5], [0.3, 1.0, 2.0], [-1.0, 0.1, 0.7]])
    reduced = eliminate(inputs, inputs @ weight.T + torch.tensor([5.0, -1.0, 0.0]), kept=3)
    assert reduced.channels.tolist() == [1, 4, 6]
    assert torch.allclose(reduced.weight, weight[:, [1, 4, 6]], atol=2e-3)
    assert torch.allclose(reduced.bias, torch.tensor([5.0, -1.0, 0.0]), atol=2e-3)
    assert reduced.unexplained < 1e-6


def test_a_channel_that_repeats_another_is_left_out_and_the_other_takes_its_part() -> None:
    inputs = samples(4)
    inputs[:, 2] = inputs[:, 0]
    reduced = eliminate(inputs, inputs.sum(1, keepdim=True), kept=3)
    assert {1, 3} < set(reduced.channels.tolist())
    weights = dict(zip(reduced.channels.tolist(), reduced.weight[0].tolist(), strict=True))
    assert weights.pop(0, weights.pop(2, 0.0)) == pytest.approx(2.0, abs=2e-3)


def test_each_step_loses_as_little_as_the_best_single_channel_does() -> None:
    inputs, targets = samples(6), samples(6) @ samples(2, seed=1)[:6] + 0.3 * samples(2, seed=2)
    chosen = eliminate(inputs, targets, kept=5)
    every = [[other for other in range(6) if other != left_out] for left_out in range(6)]
    losses = [eliminate(inputs[:, kept], targets, kept=5).unexplained for kept in every]
    assert chosen.unexplained == pytest.approx(min(losses), rel=1e-3)
    assert chosen.channels.tolist() == every[losses.index(min(losses))]


def test_channels_that_are_always_zero_do_no_harm() -> None:
    inputs = samples(5)
    inputs[:, 3] = 0
    reduced = eliminate(inputs, inputs[:, :1], kept=4)
    assert 3 not in reduced.channels
    assert torch.isfinite(reduced.weight).all()


def test_a_convolution_reads_encoded_channels_as_it_read_all() -> None:
    few = samples(3)
    mixed = few @ samples(10, seed=1)[:3]  # ten channels of which three are independent
    reader = torch.randn(4, 10, 3, 3, generator=torch.Generator().manual_seed(2))
    encode, decode = narrow_basis(mixed, [reader], width=3)
    assert (encode.shape, decode.shape) == ((3, 10), (10, 3))
    image = mixed[:400].T.reshape(1, 10, 20, 20)
    narrow = torch.einsum("wc,nchv->nwhv", encode, image)
    answers = conv2d(narrow, torch.einsum("ochv,cw->owhv", reader, decode), padding=1)
    wanted = conv2d(image, reader, padding=1)
    assert torch.allclose(answers, wanted, atol=1e-3 * float(wanted.abs().max()))


def test_the_channels_that_the_reader_weighs_most_are_kept() -> None:
    reader = torch.ones(1, 2, 1, 1)
    reader[:, 1] = 20.0
    encode, _ = narrow_basis(samples(2), [reader], width=1)
    assert abs(float(encode[0, 1])) > 3 * abs(float(encode[0, 0]))
