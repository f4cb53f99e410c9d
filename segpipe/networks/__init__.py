"""Networks: one file each, found by discovery, loaded with their weights, and run."""

from segpipe.networks._card import Card, card_of
from segpipe.networks._inference import predict_planes, predict_windows
from segpipe.networks._loading import (
    LoadedNetwork,
    cached_network,
    load,
    weights_file,
    weights_path,
)
from segpipe.networks._network import PROB_HEAD, TYPE_HEAD, Head, Network, Window
from segpipe.networks._registry import network, networks

__all__ = [
    "PROB_HEAD",
    "TYPE_HEAD",
    "Card",
    "Head",
    "LoadedNetwork",
    "Network",
    "Window",
    "cached_network",
    "card_of",
    "load",
    "network",
    "networks",
    "predict_planes",
    "predict_windows",
    "weights_file",
    "weights_path",
]
