"""Is our decoding as good as the published one on maps that a network predicts?

    python tests/benchmarks/decoder_quality.py --manifest CSV [--images 12]

Predicts annotated images once, decodes the maps by the constants of the weights' card
and by the published algorithm, with its filter as published and scaled to the network's
resolution, and prints means over images. Neither leaves out what is not probable.
"""

import numpy as np
from published import published_decoding
from some_answers import answered, parsed, say_scores

from segpipe.networks import load


def decoders(loaded):
    """Return each way to decode, by what it is called."""
    return {
        "ours": lambda maps: loaded.network.decode(maps, loaded.decoding),
        "published, 21 taps": lambda maps: published(maps, 21),
        "published, 11 taps": lambda maps: published(maps, 11),
    }


def published(maps, ksize):
    return published_decoding(maps["prob"], maps["hv"], ksize).astype(np.int32)


def main():
    asked = parsed(__doc__)
    loaded = load(asked.weights)
    for images in answered(asked, loaded):
        for decoder, decode in decoders(loaded).items():
            say_scores(decoder, images, [decode(said.maps) for _, said in images])


if __name__ == "__main__":
    main()
