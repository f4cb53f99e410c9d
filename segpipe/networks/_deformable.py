"""Modulated deformable convolution: each tap of the kernel says where it looks.

::

    regular 3 x 3        deformable: every output place moves its nine taps by
    . . .                offsets and weighs them by modulations, both predicted from
    . o .                the same features:
    . . .                    y(p) = sum_k w_k · m_k(p) · x(p + p_k + d_k(p))

x between pixels is bilinear, and 0 beyond the border. A tap is then a weighted sum of
four rows of a table of pixels, which is what torch's embedding bags are made for; what
is left is one matrix product. On a GPU torchvision's kernel is used where it imports;
on a CPU it takes several times as long as what is here.

References
----------
Zhu, Hu, Lin and Dai 2019, *Deformable ConvNets v2: More Deformable, Better Results*,
section 3.2.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from segpipe.errors import ShapeMismatch
from segpipe.networks._kernels import torchvision_ops

COLUMNS_BYTES = 64 * 2**20
"""Largest table of sampled taps that is made at once."""


class _Layout(NamedTuple):
    """Where a regular convolution's taps are, along both axes."""

    stride: int
    padding: int
    dilation: int


class DeformableConv(nn.Conv2d):
    """A convolution with predicted offsets and modulations; square, of one group.

    ``weight`` and ``bias`` are those of the regular convolution, so trained ones load.
    Offsets begin at 0 and modulations at 0.5, as in the paper.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - those of nn.Conv2d
        self,
        n_in: int,
        n_out: int,
        kernel: int = 3,
        stride: int = 1,
        padding: int = 1,
        dilation: int = 1,
        *,
        bias: bool = False,
    ) -> None:
        super().__init__(n_in, n_out, kernel, stride, padding, dilation, bias=bias)
        self.taps = _Taps(n_in, kernel)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - nn.Conv2d's name
        """Map (B, n_in, h, w) to (B, n_out, h / stride, w / stride)."""
        layout = _Layout(self.stride[0], int(self.padding[0]), self.dilation[0])
        taps = functional.conv2d(input, self.taps.weight, self.taps.bias, *layout)
        n_offsets = 2 * taps.shape[1] // 3
        return deformable_conv2d(
            input,
            taps[:, :n_offsets],
            taps[:, n_offsets:].sigmoid(),
            self.weight,
            self.bias,
            stride=layout.stride,
            padding=layout.padding,
            dilation=layout.dilation,
        )


class _Taps(nn.Module):
    """The weights that offsets and modulations are predicted by.

    No ``nn.Conv2d``: initialising all convolutions of a network must not touch them.
    """

    def __init__(self, n_in: int, kernel: int) -> None:
        super().__init__()
        n_taps = kernel**2
        self.weight = nn.Parameter(torch.zeros(3 * n_taps, n_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(3 * n_taps))


def deformable_conv2d(  # noqa: PLR0913 - those of a convolution
    x: Tensor,
    offset: Tensor,
    modulation: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Tensor:
    """Convolve with moved and weighted taps. Differentiable in every tensor.

    Parameters
    ----------
    x : (B, C, H, W)
        Fastest in channels-last layout, in which the result is.
    offset : (B, 2 K, h, w)
        y and x, in pixels, of each of the K = k * k taps in raster order.
    modulation : (B, K, h, w)
        Weight of each tap.
    weight : (n_out, C, k, k)
    bias : (n_out,)
    stride, padding, dilation : int
        As for a regular convolution, of the same height and width.

    Returns
    -------
    (B, n_out, h, w)

    Raises
    ------
    ShapeMismatch
        If offsets or modulations aren't those of this convolution.
    """
    layout = _Layout(stride, padding, dilation)
    _check(x, offset, modulation, weight, layout)
    ops = torchvision_ops()
    if ops is not None and x.is_cuda:
        like = (
            None if one is None else one.to(x.dtype) for one in (offset, weight, bias)
        )
        found: Tensor = ops.deform_conv2d(
            x, *like, *layout, mask=modulation.to(x.dtype)
        )
        return found
    rows, shares = _bags(x, offset, modulation, layout)
    table = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    flat = weight.permute(2, 3, 1, 0).reshape(-1, weight.shape[0])
    batch, _, height, width = offset.shape
    convolved = _in_chunks(table, rows, shares.to(x.dtype), flat)
    if bias is not None:
        convolved = convolved + bias
    return convolved.view(batch, height, width, -1).permute(0, 3, 1, 2)


def _bags(
    x: Tensor, offset: Tensor, modulation: Tensor, layout: _Layout
) -> tuple[Tensor, Tensor]:
    """Return, for each place and tap, four pixels and the weight of each.

    Returns
    -------
    rows : (B h w, K, 4) int64
        Pixel, counted through the batch.
    shares : (B h w, K, 4) float
        Bilinear weight times modulation; 0 beyond the border.
    """
    stride, padding, dilation = layout
    batch, n_taps, height, width = modulation.shape
    side = round(n_taps**0.5)
    precise = torch.promote_types(offset.dtype, torch.float32)
    steps = partial(torch.arange, device=x.device, dtype=precise)
    tap = steps(side) * dilation - padding
    down = steps(height).view(-1, 1, 1, 1) * stride + tap.view(-1, 1)
    right = steps(width).view(-1, 1, 1) * stride + tap
    places = (batch, height, width, side, side)
    moved = offset.to(precise).permute(0, 2, 3, 1).reshape(*places, 2)
    weigh = modulation.to(precise).permute(0, 2, 3, 1).reshape(places)
    y_rows, y_shares = _linear(moved[..., 0] + down, x.shape[2])
    x_rows, x_shares = _linear(moved[..., 1] + right, x.shape[3])
    first = torch.arange(batch, device=x.device).view(-1, 1, 1, 1, 1) * x.shape[2]
    corners = tuple(product((0, 1), repeat=2))
    rows = [(first + y_rows[i]) * x.shape[3] + x_rows[j] for i, j in corners]
    shares = [weigh * y_shares[i] * x_shares[j] for i, j in corners]
    shape = (-1, n_taps, 4)
    return torch.stack(rows, -1).view(shape), torch.stack(shares, -1).view(shape)


def _linear(at: Tensor, length: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return the two places along an axis around each coordinate, and their weights.

    Where a coordinate is no finite number, places are any and weights no numbers.
    """
    low = at.detach().floor().clamp(-2, length)
    above = at - low
    ends = ((low, 1 - above), (low + 1, above))
    rows = tuple(end.clamp(0, length - 1).nan_to_num(0).long() for end, _ in ends)
    shares = tuple(part * ((end >= 0) & (end < length)) for end, part in ends)
    return rows, shares


def _in_chunks(table: Tensor, rows: Tensor, shares: Tensor, flat: Tensor) -> Tensor:
    """Sample and multiply, as many places at once as the memory allows.

    Where there is more than one chunk, training samples each again on its way back.
    """
    size = max(1, COLUMNS_BYTES // (flat.shape[0] * table.element_size()))
    if len(rows) <= size:
        return _convolve(table, rows, shares, flat)
    parts = zip(torch.split(rows, size), torch.split(shares, size), strict=True)
    if torch.is_grad_enabled():
        made = [
            checkpoint(_convolve, table, *p, flat, use_reentrant=False) for p in parts
        ]
    else:
        made = [_convolve(table, *part, flat) for part in parts]
    return torch.cat(made)


def _convolve(table: Tensor, rows: Tensor, shares: Tensor, flat: Tensor) -> Tensor:
    sampled = functional.embedding_bag(
        rows.flatten(0, 1), table, mode="sum", per_sample_weights=shares.flatten(0, 1)
    )
    return sampled.view(len(rows), -1) @ flat


def _check(
    x: Tensor,
    offset: Tensor,
    modulation: Tensor,
    weight: Tensor,
    layout: _Layout,
) -> None:
    stride, padding, dilation = layout
    n_taps, reach = weight.shape[2] * weight.shape[3], dilation * (weight.shape[2] - 1)
    place = [(side + 2 * padding - reach - 1) // stride + 1 for side in x.shape[2:]]
    wanted = [(len(x), n * n_taps, *place) for n in (2, 1)]
    found = [tuple(offset.shape), tuple(modulation.shape)]
    if weight.shape[2] != weight.shape[3] or weight.shape[1] != x.shape[1]:
        message = (
            f"A deformable convolution of {x.shape[1]} channels takes a square kernel "
            f"of as many; found weights of {tuple(weight.shape)}."
        )
        raise ShapeMismatch(message)
    if found != wanted:
        message = (
            f"Offsets and modulations of this convolution must be {wanted[0]} and "
            f"{wanted[1]}; found {found[0]} and {found[1]}."
        )
        raise ShapeMismatch(message)
