"""What INT8 keeps of a layer's weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flowtrack.errors import InputError

LARGEST = 127
"""What the largest magnitude becomes; -128 is left out, so that zero lies in the middle."""


def quantized_weights(
    values: npt.NDArray[np.float32], axis: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Weights as int8, with the scale of each output channel: its largest magnitude / 127.

    Args:
        values: float32 weights.
        axis: of the output channels.

    Returns:
        int8 weights of the same shape, and (channels,) float32 scales; 1 for a channel of zeros.

    Raises:
        InputError: a weight is not finite.
    """
    if not np.isfinite(values).all():
        raise InputError("weights hold NaN or infinity, expected finite values; train or export "
                         "the network again")  # fmt: skip
    others = tuple(other for other in range(values.ndim) if other != axis)
    largest = np.abs(values).max(axis=others, keepdims=True)
    scales = np.where(largest > 0, largest / np.float32(LARGEST), np.float32(1)).astype(np.float32)
    # A channel of the smallest numbers has no scale in float32; its weights add nothing.
    scales[scales == 0] = 1
    stored = np.clip(np.rint(values / scales), -LARGEST, LARGEST).astype(np.int8)
    return stored, scales.reshape(-1)
