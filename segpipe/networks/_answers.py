"""What a network says of an image in memory, whichever way it says it.

Networks that give maps and detectors part here, and nowhere else in training,
evaluating and calibrating. On slides they part in ``segpipe.stages.answers``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from segpipe.arrays import LabelMap, Maps, Planes
from segpipe.decoding.scored import painted
from segpipe.errors import SettingsError
from segpipe.labels.probable import probable_ones
from segpipe.networks._detecting import detect_planes, maps_of
from segpipe.networks._flips import TURNS, Turn, mean_of_flips
from segpipe.networks._inference import predict_planes
from segpipe.networks._loading import LoadedNetwork
from segpipe.networks._network import PROB_HEAD, Detector, Network, giving_maps


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """The nuclei of an image, all of one height and width."""

    labels: LabelMap
    maps: Maps
    """The network's; of a detector ``"prob"``, its nuclei with their scores, and
    ``"type"``, the same for each type."""


class Answer(Protocol):
    """What a network says of an image, to be decoded with any constants."""

    def decode(self, decoding: Any, /) -> Decoded:  # noqa: ANN401 - each network's own
        """Return the nuclei that it comes to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapsAnswer:
    """Maps; decoding them takes little."""

    network: Network
    maps: Maps

    def decode(self, decoding: Any, /) -> Decoded:  # noqa: ANN401
        """Decode the maps, and leave out what is not probable enough."""
        labels = self.network.decode(self.maps, decoding)
        kept = probable_ones(labels, self.maps[PROB_HEAD], decoding.min_prob)
        return Decoded(labels=kept, maps=self.maps)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorAnswer:
    """An image that a detector will be asked about: its constants matter to that.

    Raw outputs would take some 30 MB a window; the image takes next to nothing.
    """

    loaded: LoadedNetwork
    planes: Planes
    """(3, Y, X) uint8 as it is fed, turned."""
    turn: Turn

    def decode(self, decoding: Any, /) -> Decoded:  # noqa: ANN401
        """Run the detector, and turn back what it finds."""
        found = detect_planes(self.loaded, self.planes, decoding)
        ids = np.arange(1, len(found.types) + 1)
        kinds = painted(found.labels, ids, found.types)
        maps = maps_of(found.prob, kinds, self.loaded.n_types)
        back = self.turn.turn_back
        return Decoded(
            labels=np.ascontiguousarray(back("labels", found.labels)),
            maps={name: back(name, values) for name, values in maps.items()},
        )


def answer(loaded: LoadedNetwork, planes: Planes, turn: Turn = TURNS[0]) -> Answer:
    """Ask a network about a whole image, in one of its eight orientations.

    Parameters
    ----------
    loaded
        The network.
    planes : (3, Y, X) uint8
        At the network's mpp. What lies outside is mirrored.
    turn
        How it is turned for the network; what is found is turned back.
    """
    turned = np.ascontiguousarray(turn.turn(planes))
    if isinstance(loaded.network, Detector):
        return DetectorAnswer(loaded=loaded, planes=turned, turn=turn)
    maps = predict_planes(loaded, turned)
    back = {name: turn.turn_back(name, values) for name, values in maps.items()}
    return MapsAnswer(network=loaded.network, maps=back)


def mean_answer(loaded: LoadedNetwork, planes: Planes) -> Answer:
    """Return the mean of a network's maps over an image's eight orientations.

    Raises
    ------
    SettingsError
        If it is a detector: masks have no mean.
    """
    check_mean(loaded)
    maps = mean_of_flips(partial(predict_planes, loaded), planes)
    return MapsAnswer(network=giving_maps(loaded.network), maps=maps)


def check_mean(loaded: LoadedNetwork) -> None:
    """Refuse a network whose answers have no mean.

    Raises
    ------
    SettingsError
        If it is a detector.
    """
    if isinstance(loaded.network, Detector):
        message = (
            f"{loaded.network.name} gives scored masks, and masks of eight "
            "orientations have no mean as maps have. Leave test_time at 'none'."
        )
        raise SettingsError(message)
