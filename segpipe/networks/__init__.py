"""Networks: one file each, found by discovery, loaded with their weights, and run."""

from segpipe.networks._answers import (
    Answer,
    Decoded,
    MapsAnswer,
    answer,
    check_mean,
    mean_answer,
)
from segpipe.networks._card import Card, card_of
from segpipe.networks._detecting import (
    detect_planes,
    maps_of,
    on_canvas,
    ownership_of,
    scored_nuclei,
)
from segpipe.networks._inference import detect_windows, predict_planes, predict_windows
from segpipe.networks._loading import (
    LoadedNetwork,
    cached_network,
    load,
    weights_file,
    weights_path,
)
from segpipe.networks._network import (
    PROB_HEAD,
    TYPE_HEAD,
    AnyNetwork,
    Described,
    Detector,
    Head,
    MapsDecoding,
    Network,
    Window,
    giving_maps,
    giving_masks,
)
from segpipe.networks._registry import network, networks

__all__ = [
    "PROB_HEAD",
    "TYPE_HEAD",
    "Answer",
    "AnyNetwork",
    "Card",
    "Decoded",
    "Described",
    "Detector",
    "Head",
    "LoadedNetwork",
    "MapsAnswer",
    "MapsDecoding",
    "Network",
    "Window",
    "answer",
    "cached_network",
    "card_of",
    "check_mean",
    "detect_planes",
    "detect_windows",
    "giving_maps",
    "giving_masks",
    "load",
    "maps_of",
    "mean_answer",
    "network",
    "networks",
    "on_canvas",
    "ownership_of",
    "predict_planes",
    "predict_windows",
    "scored_nuclei",
    "weights_file",
    "weights_path",
]
