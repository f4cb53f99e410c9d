"""What would a true map in place of a predicted one bring? Says what to work on.

    python tests/benchmarks/oracle_maps.py --manifest CSV [--split dev] [--sets tnbc]

Predicts annotated images once and decodes them by the constants of the weights' card:
as predicted, with one map after the other taken from the annotation, and with all of
them, which is the loss of the resolution and the decoder alone. Prints means over
images.
"""

import torch
from some_answers import answered, parsed, say_scores

from segpipe.networks import MapsAnswer, load
from segpipe.networks._inference import quantise
from segpipe.training.annotated import at_mpp


def true_maps(loaded, annotated):
    """Return the maps that decoding looks at, as the annotation would have them."""
    labels = at_mpp(annotated, loaded.card.mpp).labels
    targets = loaded.network.targets(labels, None, 0)
    return {
        head.name: quantise(head, torch.from_numpy(targets[head.name])[None])[0]
        for head in loaded.network.heads(0)
    }


def mixtures(predicted, true):
    """Return what is decoded, by what it is called."""
    one_true = {f"true {name}": predicted | {name: true[name]} for name in true}
    return {"as predicted": predicted, **one_true, "all true": predicted | true}


def main():
    asked = parsed(__doc__)
    loaded = load(asked.weights)
    for images in answered(asked, loaded):
        found = {}
        for annotated, said in images:
            true = true_maps(loaded, annotated)
            for title, maps in mixtures(said.maps, true).items():
                mixed = MapsAnswer(network=loaded.network, maps=maps)
                labels = mixed.decode(loaded.decoding).labels
                found.setdefault(title, []).append(labels)
        for title, each in found.items():
            say_scores(title, images, each)


if __name__ == "__main__":
    main()
