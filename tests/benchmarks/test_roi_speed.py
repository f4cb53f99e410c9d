"""What pooling boxes costs beside torchvision's kernel, on one core."""

import time
from functools import partial

import pytest
import torch

from segpipe.networks._kernels import torchvision_ops
from segpipe.networks._roi import Regions, roi_align

MOST = 2.0
"""Times torchvision's."""


def shortest(function, times=5):
    spans = []
    for _ in range(times):
        started = time.perf_counter()
        function()
        spans.append(time.perf_counter() - started)
    return min(spans)


@pytest.mark.skipif(torchvision_ops() is None, reason="torchvision doesn't import")
@pytest.mark.parametrize(("size", "n"), [(7, 1000), (14, 500)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_roi_align_beside_torchvisions(benchmark, size, n, layout):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    planes = torch.randn(1, 256, 128, 128).contiguous(memory_format=layout)
    corner = torch.rand(n, 2) * 480
    boxes = torch.cat((corner, corner + 8 + 40 * torch.rand(n, 2)), dim=1)
    nothing = torch.zeros(n, dtype=torch.int64)
    found, ops = Regions(boxes, nothing, nothing), torchvision_ops()
    benchmark(roi_align, [planes], found, [4], size=size)
    if benchmark.stats is not None:
        kernel = partial(
            ops.roi_align, output_size=size, sampling_ratio=2, aligned=True
        )
        theirs = shortest(lambda: kernel(planes, [boxes], spatial_scale=0.25))
        ratio = benchmark.stats.stats.min / theirs
        benchmark.extra_info |= {"times_torchvision": round(ratio, 2)}
        print(f"\n{benchmark.extra_info}")  # noqa: T201 - what a benchmark is for
        assert ratio < MOST
