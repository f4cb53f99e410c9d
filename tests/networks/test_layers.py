import torch
from torch import nn

from segpipe.networks._layers import fuse_conv_bn


class NormThenRelu(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(x).relu()


def test_batch_norms_that_do_more_are_left_alone():
    torch.manual_seed(0)
    pair = nn.Sequential(nn.Conv2d(2, 3, 1), NormThenRelu(3)).eval()
    x = torch.randn(1, 2, 4, 4)
    before = pair(x)
    assert torch.equal(fuse_conv_bn(pair)(x), before)
