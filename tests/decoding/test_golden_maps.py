"""On the golden maps the decoder is better than the published one."""

import pytest
from golden import IDS, label_map, maps

from segpipe.decoding.hv import QuarterMicronDecoding, decode_hv
from segpipe.metrics.counts import count
from segpipe.metrics.scores import scores


@pytest.mark.parametrize("name", IDS)
def test_pq_and_aji_are_no_worse_than_the_published_decodings(name):
    truth = label_map(name, "truth")
    found = decode_hv(*maps(name), decoding=QuarterMicronDecoding())
    ours = scores(count(truth, found))
    published = scores(count(truth, label_map(name, "hovernet_decoded")))
    assert ours["pq"] >= published["pq"]
    assert ours["aji"] >= published["aji"]
