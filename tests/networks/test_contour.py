import numpy as np
import torch

from segpipe.networks.contour import NETWORK


def test_outlines_are_not_learnt_where_instances_are_unsure(make_ellipses):
    labels = make_ellipses(0, side=64, n=6)
    targets = {
        name: torch.from_numpy(target[None])
        for name, target in NETWORK.targets(labels, None, 0).items()
    }
    targets["reliable"] = torch.zeros(1, 64, 64)
    outputs = tuple(torch.randn(1, 1, 64, 64, requires_grad=True) for _ in range(2))
    sum(NETWORK.loss(outputs, targets).values()).backward()
    prob, contour = outputs
    assert prob.grad.any()
    assert not contour.grad.any()


def test_the_outline_runs_on_both_sides_of_every_edge():
    labels = np.zeros((12, 16), np.int32)
    labels[3:9, 2:8], labels[3:9, 8:14] = 1, 2
    contour = NETWORK.targets(labels, None, 0)["contour"][0]
    assert np.flatnonzero(contour[5]).tolist() == [1, 2, 7, 8, 13, 14]
