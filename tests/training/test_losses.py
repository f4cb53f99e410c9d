import pytest
import torch

from segpipe import losses


@pytest.fixture
def square():
    target = torch.zeros(1, 8, 8)
    target[:, 2:6, 2:6] = 1
    return target


def test_a_sure_and_right_answer_costs_nothing(square):
    logits = 40 * (2 * square - 1)
    ones = torch.ones_like(square)
    assert losses.bce_loss(logits, square, ones) < 1e-6
    assert losses.dice_loss(logits, square, ones) < 1e-6


def test_weighted_out_pixels_cost_nothing(square):
    wrong = 40 * (1 - 2 * square)
    nothing = torch.zeros_like(square)
    assert losses.bce_loss(wrong, square, nothing) == 0
    hv = torch.randn(1, 2, 8, 8)
    assert losses.hv_loss(hv, torch.zeros_like(hv), nothing) == 0
    assert losses.hv_gradient_loss(hv, torch.zeros_like(hv), nothing) == 0


def test_weights_average_and_do_not_add(square):
    hv = torch.ones(1, 2, 8, 8)
    zeros = torch.zeros_like(hv)
    once = losses.hv_loss(hv, zeros, square)
    assert once == pytest.approx(1)
    assert losses.hv_loss(hv, zeros, 5 * square) == pytest.approx(1)


def test_the_slope_loss_sees_slopes_along_the_own_axis_only():
    ramp = torch.arange(8.0).expand(8, 8)
    ones = torch.ones(1, 8, 8)
    zeros = torch.zeros(1, 2, 8, 8)
    along = torch.stack((ramp, ramp.T))[None]
    across = torch.stack((ramp.T, ramp))[None]
    inner = torch.zeros_like(ones)
    inner[:, 1:-1, 1:-1] = 1
    assert losses.hv_gradient_loss(along, zeros, inner) == pytest.approx(1)
    assert losses.hv_gradient_loss(across, zeros, inner) == pytest.approx(0)
    assert losses.hv_gradient_loss(along + 3, along, inner) == pytest.approx(0)


def test_types_are_scored_where_they_are_known():
    logits = torch.tensor([[[[2.0, -9.0]], [[0.0, 9.0]]]])
    target = torch.tensor([[[[1.0, 0.0]], [[0.0, 0.0]]]])
    weight = torch.ones(1, 1, 2)
    expected = torch.nn.functional.cross_entropy(
        torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    )
    assert losses.type_loss(logits, target, weight) == pytest.approx(float(expected))


def test_a_balance_of_one_makes_types_count_alike_however_rare():
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 4, 5)
    target = torch.zeros(1, 3, 4, 5)
    target[:, 0, :, :3] = target[:, 1, :3, 3] = target[:, 2, 3, 4] = 1
    weight = torch.rand(1, 4, 5)
    alone = [
        losses.type_loss(logits, target, weight * target[:, kind]) for kind in range(3)
    ]
    even = losses.type_loss(logits, target, weight, balance=1)
    assert even == pytest.approx(float(sum(alone) / 3), rel=1e-5)
    by_pixel = losses.type_loss(logits, target, weight)
    between = losses.type_loss(logits, target, weight, balance=0.5)
    assert sorted((by_pixel, between, even))[1] == between


def test_a_balance_says_nothing_of_types_that_no_pixel_has(square):
    logits = torch.randn(1, 2, 8, 8)
    target = torch.stack((square, 0 * square), dim=1)
    ones = torch.ones_like(square)
    expected = losses.type_loss(logits, target, ones)
    assert losses.type_loss(logits, target, ones, balance=1) == pytest.approx(expected)
    assert losses.type_loss(logits, 0 * target, ones, balance=1) == 0
