"""Refusing answers of a network that are no finite numbers, before anything reads them.

Activations and rounding would hide them: an infinite logit is a sure nucleus, and what
is no number is stored as 0, as if nothing were there.
"""

from __future__ import annotations

from torch import Tensor

from segpipe.errors import MapsInvalid


def check_finite(values: Tensor, name: str) -> Tensor:
    """Return values that are finite numbers, all of them.

    Parameters
    ----------
    values
        Of any shape, before activation.
    name
        What they are, for the message.

    Raises
    ------
    MapsInvalid
        If one isn't.
    """
    if (n_bad := int((~values.isfinite()).sum())) > 0:
        message = (
            f"The network gives no finite number at {n_bad} of {values.numel()} places "
            f"of its {name}. Its weights are damaged or unfit, or half precision "
            "overflowed on a GPU: check them with other weights, or by --device cpu."
        )
        raise MapsInvalid(message)
    return values
