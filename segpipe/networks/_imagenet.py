"""Taking published ImageNet weights into an encoder, all of them but the classifier."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from segpipe.errors import WeightsError


def load_features(
    encoder: nn.Module,
    state: Mapping[str, Tensor],
    *,
    classifier: tuple[str, ...],
    title: str,
) -> None:
    """Load a published state dict, strictly.

    Parameters
    ----------
    encoder
        Has the published names.
    state
        Tensors by name.
    classifier
        What the names of the classifier's tensors begin with.
    title
        What the weights should be of, for the error.

    Raises
    ------
    WeightsError
        If names or shapes are not the encoder's.
    """
    own = {k: v for k, v in state.items() if not k.startswith(classifier)}
    try:
        encoder.load_state_dict(own, strict=True)
    except RuntimeError as error:
        message = f"These are not the weights of {title}: {error}"
        raise WeightsError(message) from error
