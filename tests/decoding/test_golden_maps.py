"""On the golden maps the decoder is better than the published one."""

import pytest
from golden import AT_QUARTER_UM, IDS, label_map, maps

from segpipe.decoding.hv import decode_hv
from segpipe.metrics.counts import count
from segpipe.metrics.scores import scores


@pytest.mark.parametrize("name", IDS)
def test_pq_and_aji_are_no_worse_than_the_published_decodings(name):
    truth = label_map(name, "truth")
    ours = scores(count(truth, decode_hv(*maps(name), decoding=AT_QUARTER_UM)))
    published = scores(count(truth, label_map(name, "hovernet_decoded")))
    assert ours["pq"] >= published["pq"]
    assert ours["aji"] >= published["aji"]
