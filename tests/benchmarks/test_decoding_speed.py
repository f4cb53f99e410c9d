"""How fast maps become a label map, beside the published algorithm in this process."""

import time

import numpy as np
import pytest
from golden import IDS, label_map, maps
from published import published_decoding

from segpipe.decoding.hv import QuarterMicronDecoding, decode_hv
from segpipe.metrics.counts import count
from segpipe.metrics.scores import scores

SIDE = 4096

DECODING = QuarterMicronDecoding()


def pq(name):
    """Return PQ of ours and of the published decoding on golden maps."""
    truth = label_map(name, "truth")
    ours = decode_hv(*maps(name), decoding=DECODING)
    published = label_map(name, "hovernet_decoded")
    return [round(scores(count(truth, found))["pq"], 3) for found in (ours, published)]


@pytest.fixture(scope="module")
def large(request):
    """The golden maps of dense tissue, repeated to the standard work, or once."""
    prob, hv = maps("17")
    is_test = request.config.getoption("benchmark_disable")
    times = 1 if is_test else SIDE // prob.shape[0]
    return np.tile(prob, (times, times)), np.tile(hv, (1, times, times))


def test_decoding_beside_the_published_algorithm(benchmark, large):
    prob, hv = large
    decode_hv(prob[:64, :64], hv[:, :64, :64], decoding=DECODING)  # compiled
    labels = benchmark(decode_hv, prob, hv, decoding=DECODING)
    started = time.process_time()
    theirs = published_decoding(prob, hv)
    seconds = time.process_time() - started
    if benchmark.stats is not None:
        ours = benchmark.stats.stats.min
        benchmark.extra_info["mpx_per_s"] = round(prob.size / 1e6 / ours, 1)
        benchmark.extra_info["times_the_published"] = round(seconds / ours, 1)
        benchmark.extra_info["pq"] = {name: pq(name) for name in IDS}
        print(f"\n{benchmark.extra_info}")  # noqa: T201 - what a benchmark is for
    assert labels.max() > 0.8 * theirs.max()
