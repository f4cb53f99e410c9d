"""Deformable convolution equals its definition, and torchvision's where it imports."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from segpipe.errors import ShapeMismatch
from segpipe.networks import _deformable
from segpipe.networks._deformable import DeformableConv, deformable_conv2d
from segpipe.networks._kernels import torchvision_ops

DRAWN = st.fixed_dictionaries(
    {
        "shape": st.tuples(st.integers(1, 2), *[st.integers(3, 6)] * 2),
        "kernel": st.sampled_from((1, 2, 3)),
        "stride": st.integers(1, 2),
        "padding": st.integers(0, 2),
        "dilation": st.integers(1, 2),
        "spread": st.sampled_from((0.0, 0.7, 5.0, 1e6)),
        "seed": st.integers(0, 2**16),
    }
)


def tensors(drawn):
    """Return x, offset, modulation, weight, bias and the layout of a drawn case."""
    torch.manual_seed(drawn["seed"])
    batch, height, width = drawn["shape"]
    kernel, layout = (
        drawn["kernel"],
        [drawn[n] for n in ("stride", "padding", "dilation")],
    )
    stride, padding, dilation = layout
    reach = dilation * (kernel - 1)
    place = [(n + 2 * padding - reach - 1) // stride + 1 for n in (height, width)]
    if min(place) < 1:
        return None
    made = {"dtype": torch.double}
    return (
        torch.randn(batch, 2, height, width, **made),
        drawn["spread"] * torch.randn(batch, 2 * kernel**2, *place, **made),
        torch.rand(batch, kernel**2, *place, **made),
        torch.randn(3, 2, kernel, kernel, **made),
        torch.randn(3, **made),
    ), {"stride": stride, "padding": padding, "dilation": dilation}


def value_at(plane, y, x):
    """Return (C, H, W) at a point between pixels, 0 beyond the border."""
    total = torch.zeros(len(plane), dtype=plane.dtype)
    for row in (math.floor(y), math.floor(y) + 1):
        for col in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < plane.shape[1] and 0 <= col < plane.shape[2]:
                near = (1 - abs(y - row)) * (1 - abs(x - col))
                total += near * plane[:, row, col]
    return total


def naive(x, offset, modulation, weight, bias, *, stride, padding, dilation):
    """Return the sum of the definition, place by place and tap by tap."""
    side = weight.shape[-1]
    out = bias.view(1, -1, 1, 1).repeat(len(x), 1, *offset.shape[2:])
    for b, row, col in torch.cartesian_prod(
        *map(torch.arange, (len(x), *out.shape[2:]))
    ):
        for tap in range(side**2):
            dy, dx = offset[b, 2 * tap : 2 * tap + 2, row, col]
            y = row * stride - padding + tap // side * dilation + dy
            z = col * stride - padding + tap % side * dilation + dx
            seen = value_at(x[b], float(y), float(z)) * modulation[b, tap, row, col]
            out[b, :, row, col] += weight[:, :, tap // side, tap % side] @ seen
    return out


@settings(max_examples=15, deadline=None)
@given(DRAWN)
def test_it_is_what_the_definition_says(drawn):
    if (case := tensors(drawn)) is not None:
        given_, layout = case
        torch.testing.assert_close(
            deformable_conv2d(*given_, **layout), naive(*given_, **layout)
        )


@settings(max_examples=10, deadline=None)
@given(DRAWN)
def test_taps_that_stay_and_weigh_one_are_a_convolution(drawn):
    if (case := tensors({**drawn, "spread": 0.0})) is not None:
        (x, offset, modulation, weight, bias), layout = case
        torch.testing.assert_close(
            deformable_conv2d(
                x, offset, torch.ones_like(modulation), weight, bias, **layout
            ),
            functional.conv2d(x, weight, bias, **layout),
        )


CASE = {
    "shape": (2, 6, 5),
    "kernel": 3,
    "stride": 1,
    "padding": 1,
    "dilation": 1,
    "spread": 1.3,
    "seed": 1,
}


def test_gradients_are_those_of_finite_differences():
    given_, layout = tensors({**CASE, "shape": (1, 4, 3)})
    leaves = [one.requires_grad_() for one in given_]
    assert torch.autograd.gradcheck(
        lambda *args: deformable_conv2d(*args, **layout), leaves, fast_mode=True
    )


def test_chunks_change_neither_values_nor_gradients(monkeypatch):
    def run():
        given_, layout = tensors(CASE)
        leaves = [one.requires_grad_() for one in given_]
        found = deformable_conv2d(*leaves, **layout)
        return [found, *torch.autograd.grad(found.square().sum(), leaves)]

    whole = run()
    monkeypatch.setattr(_deformable, "COLUMNS_BYTES", 7 * 18 * 8)
    for part, one in zip(run(), whole, strict=True):
        torch.testing.assert_close(part, one)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_offsets_that_are_no_numbers_spoil_their_place_and_no_other(value):
    (x, offset, *others), layout = tensors(CASE)
    sound = deformable_conv2d(x, offset, *others, **layout)
    offset[1, 4, 2, 3] = value
    found = deformable_conv2d(x, offset.requires_grad_(), *others, **layout)
    spoilt = torch.zeros_like(found, dtype=torch.bool)
    spoilt[1, :, 2, 3] = True
    assert torch.equal(found.isnan(), spoilt)
    assert torch.equal(found[~spoilt], sound[~spoilt])
    found.sum().backward()
    assert offset.grad.isnan().any()


def test_it_is_torchvisions_where_that_imports():
    ops = torchvision_ops()
    if ops is None:
        pytest.skip("torchvision's operators don't import here")
    given_, layout = tensors(CASE)
    x, offset, modulation, weight, bias = (one.requires_grad_() for one in given_)
    ours = deformable_conv2d(x, offset, modulation, weight, bias, **layout)
    theirs = ops.deform_conv2d(
        x, offset, weight, bias, *layout.values(), mask=modulation
    )
    torch.testing.assert_close(ours, theirs)
    for one, other in zip(
        torch.autograd.grad(ours.square().sum(), given_),
        torch.autograd.grad(theirs.square().sum(), given_),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_the_module_begins_as_half_its_regular_convolution():
    torch.manual_seed(0)
    module = DeformableConv(4, 6, stride=2, bias=True)
    regular = torch.nn.Conv2d(4, 6, 3, 2, 1)
    missing = module.load_state_dict(regular.state_dict(), strict=False)
    assert missing.missing_keys == ["taps.weight", "taps.bias"]
    assert not missing.unexpected_keys
    x = torch.rand(2, 4, 9, 8)
    bias = regular.bias.view(1, -1, 1, 1)
    torch.testing.assert_close(module(x) - bias, (regular(x) - bias) / 2)


@pytest.mark.parametrize("wrong", ["offset", "modulation", "weight"])
def test_tensors_that_do_not_belong_together_are_refused(wrong):
    given_, layout = tensors(CASE)
    named = dict(zip(("x", "offset", "modulation", "weight"), given_[:4], strict=True))
    named[wrong] = named[wrong][:, 1:]
    with pytest.raises(ShapeMismatch, match="found"):
        deformable_conv2d(**named, **layout)
