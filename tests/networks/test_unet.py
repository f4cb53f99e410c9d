import numpy as np
import pytest
import torch

from segpipe.errors import UnknownNetwork
from segpipe.networks import network, unet_transfer
from segpipe.networks._inference import quantise
from segpipe.networks.unet import NETWORK, UNet


def loss_of(prob, targets):
    return sum(NETWORK.loss((prob,), targets).values())


@pytest.fixture
def touching():
    """Targets of two squares that touch, as a batch of one."""
    labels = np.zeros((32, 32), np.int32)
    labels[8:24, 6:16], labels[8:24, 16:26] = 1, 2
    return {
        name: torch.from_numpy(target[None])
        for name, target in NETWORK.targets(labels, None, 0).items()
    }


def test_the_published_sizes_are_met():
    with torch.device("meta"):
        module = UNet(0)
        features = module.encoder(torch.empty(1, 3, 572, 572))
        (prob,) = module(torch.empty(1, 3, 572, 572))
    assert [(f.shape[1], f.shape[2]) for f in features] == [
        (64, 568),
        (128, 280),
        (256, 136),
        (512, 64),
        (1024, 28),
    ]
    assert prob.shape == (1, 1, 388, 388)
    assert sum(w.numel() for w in module.parameters()) == pytest.approx(31e6, rel=0.01)


def test_activations_neither_vanish_nor_explode_at_the_start():
    torch.manual_seed(0)
    module = network("unet:small").build(0).eval()
    (prob,) = module(torch.rand(2, 3, 64, 64) * 255)
    assert 0.1 < float(prob.detach().std()) < 10


def test_a_valid_pixel_sees_what_it_sees_in_a_larger_input():
    torch.manual_seed(0)
    module = UNet(0, width=4).eval()
    rgb = torch.rand(1, 3, 236, 236) * 255
    (large,), (small,) = module(rgb), module(rgb[..., 16:, 16:])
    torch.testing.assert_close(large[..., 16:, 16:], small, rtol=1e-4, atol=1e-4)


def test_touching_nuclei_are_parted_by_a_line_that_weighs_most(touching):
    inside, weight = touching["prob"][0, 0], touching["weight"][0, 0]
    assert not inside[8:24, 15:17].any()
    assert inside[8:24, 6:15].all()
    assert (weight == weight.max()).nonzero()[:, 1].unique().tolist() == [15, 16]
    assert weight.max() > 2.5 * weight[inside == 1].max()


def test_mistakes_on_the_line_cost_more_than_elsewhere(touching):
    right = 8 * (2 * touching["prob"] - 1)
    on_line, elsewhere = right.clone(), right.clone()
    on_line[..., 10:14, 15:17] *= -1
    elsewhere[..., 10:14, 0:2] *= -1
    assert loss_of(on_line, touching) > 3 * loss_of(elsewhere, touching)


def test_where_instances_are_unsure_the_line_weighs_as_the_rest(touching):
    right = 8 * (2 * touching["prob"] - 1)
    on_line, elsewhere = right.clone(), right.clone()
    on_line[..., 10:14, 15:17] *= -1
    elsewhere[..., 10:14, 0:2] *= -1
    unsure = {**touching, "reliable": torch.zeros(1, 32, 32)}
    assert loss_of(on_line, unsure) == pytest.approx(float(loss_of(elsewhere, unsure)))


def test_padding_costs_nothing(touching):
    targets = {**touching, "valid": torch.zeros(1, 32, 32)}
    targets["valid"][:, :16] = 1
    prob = torch.randn(1, 1, 32, 32, requires_grad=True)
    loss_of(prob, targets).backward()
    assert prob.grad[..., :16, :].any()
    assert not prob.grad[..., 16:, :].any()


def test_an_unknown_variant_is_refused_with_those_there_are():
    with pytest.raises(UnknownNetwork, match="padded, small"):
        network("unet:huge")


@pytest.mark.parametrize("suffix", unet_transfer.PARTING)
def test_a_way_of_parting_brings_its_heads_targets_and_decoding(suffix):
    chosen = network(f"unet_transfer:efficientnet_lite0-{suffix}")
    labels = np.zeros((64, 64), np.int32)
    labels[10:30, 8:24], labels[10:30, 24:40] = 1, 2
    targets = chosen.targets(labels, None, 0)
    with torch.device("meta"):
        outputs = chosen.build(0)(torch.empty(1, 3, 64, 64))
    heads = chosen.heads(0)
    assert [raw.shape[1] for raw in outputs] == [head.n_channels for head in heads]
    maps = {
        head.name: quantise(head, torch.from_numpy(targets[head.name])[None])[0]
        for head in heads
    }
    assert chosen.decode(maps, chosen.decoding()).max() == 2


@pytest.mark.parametrize("seed", range(3))
def test_at_half_the_resolution_small_and_touching_nuclei_count_as_much(
    seed, make_ellipses
):
    coarse = make_ellipses(seed, gap=0, n=80)
    fine = coarse.repeat(2, axis=0).repeat(2, axis=1)
    ours = network("unet_transfer:efficientnet_lite0-hv").targets(coarse, None, 0)
    theirs = network("hoverlite").targets(fine, None, 0)
    np.testing.assert_allclose(
        ours["weight"][0], theirs["weight"][0, ::2, ::2], rtol=1e-6
    )
    assert ours["weight"].max() > 2


def test_without_border_weights_the_line_weighs_as_other_background():
    labels = np.zeros((32, 32), np.int32)
    labels[8:24, 6:16], labels[8:24, 16:26] = 1, 2
    flat = network("unet_transfer:mobilenetv2-flat").targets(labels, None, 0)
    weighed = network("unet_transfer:mobilenetv2").targets(labels, None, 0)
    outside = flat["prob"] == 0
    assert np.array_equal(flat["prob"], weighed["prob"])
    assert np.unique(flat["weight"][outside]).size == 1
    assert weighed["weight"][outside].max() > 10 * flat["weight"][outside].max()
