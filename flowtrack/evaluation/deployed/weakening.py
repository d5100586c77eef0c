"""A detector made worse on purpose, to see what the tracker makes of a weak one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from flowtrack.errors import OptionError
from flowtrack.structs import BoolArray, FloatArray


@dataclass(frozen=True, slots=True)
class Weakening:
    """Detections lost by chance, each on its own in every frame, as blur and occlusion lose them.

    The paper compares two detectors, R-FCN and the better FPN-DCN (Table 5); this makes the weaker
    of two from one. Whether a detection is lost follows from clip, frame and box (in whole pixels)
    alone, so that all settings of the tracker lose the same ones, on every machine.

    Attributes:
        rate: probability that a detection is lost.
        seed: another one loses others.
    """

    rate: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise OptionError(f"rate of lost detections is {self.rate}, expected 0 to below 1")

    def kept(self, clip: str, index: int, boxes_xyxy: FloatArray) -> BoolArray:
        """(N,) true for the boxes (N, 4) of a frame that are not lost."""
        start = f"{self.seed} {clip} {index} ".encode()
        pixels = np.rint(boxes_xyxy).astype("<i4")
        chances = [_chance(start + box.tobytes()) for box in pixels]
        return np.array(chances, np.float64) >= self.rate


def _chance(data: bytes) -> float:
    """A number from 0 to below 1 that looks random but follows from the data."""
    return int.from_bytes(hashlib.sha256(data).digest()[:6], "big") / 2**48
