"""A network that answers NaN is never taken for an empty slide."""

from dataclasses import replace

import pytest
import torch
from outcome import same

from segpipe.errors import MapsInvalid
from segpipe.stages import predicting
from segpipe.stages.events import BatchDone
from segpipe.stages.slide import segment_slide


class Overflowing(torch.nn.Module):
    """Answers NaN to all but the first window, as half precision may overflow."""

    def __init__(self, module):
        super().__init__()
        self.module = module
        self.first = None

    def forward(self, batch):
        self.first = batch.clone() if self.first is None else self.first
        prob, hv, *others = self.module(batch)
        if not torch.equal(batch, self.first):
            hv = hv * torch.nan
        return (prob, hv, *others)


def test_a_window_of_no_numbers_is_named_and_done_by_the_next_run(
    crop, settings, undisturbed, tmp_path, monkeypatch
):
    loading = predicting.cached_network
    broken = []

    def overflowing(*named):
        if not broken:
            loaded = loading(*named)
            broken.append(replace(loaded, module=Overflowing(loaded.module)))
        return broken[0]

    monkeypatch.setattr(predicting, "cached_network", overflowing)
    with pytest.raises(MapsInvalid, match=r"Window 1 of crop at Box.*map hv.*--device"):
        segment_slide(crop, tmp_path, settings)
    monkeypatch.undo()
    done = []
    segment_slide(crop, tmp_path, settings, listener=done.append)
    batches = [e.stage for e in done if isinstance(e, BatchDone)]
    assert "tile" not in batches
    assert same(tmp_path, undisturbed)
