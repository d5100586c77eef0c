"""Pairs of pictures with their flow: from folders, made up, or from clips of synthetic people.

A source gives the sample of a number; it needs no torch and can be read by any process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypedDict

import numpy as np
import numpy.typing as npt

from flowtrack.errors import InputError, SourceError
from flowtrack.evaluation.flow_pairs import PairFiles
from flowtrack.flo import known
from flowtrack.structs import BoolArray, ByteArray, FloatArray, FlowField, checked
from flowtrack.synthetic.chairs import ChairsGenerator, ChairsOptions

_STEPS_PER_PX = 64.0  # of the flow that a pool keeps: errors below 0.008 px, up to 511 px
_MOST_PX = 32767 / _STEPS_PER_PX


class FlowSample(TypedDict):
    """Two pictures and the flow from the first to the second.

    `previous`, `current`: (H, W, 3) uint8 BGR. `uv`: (2, H, W) float32 dx and dy in px. `valid`:
    (H, W) bool, where the flow is known; elsewhere `uv` is 0.
    """

    previous: ByteArray
    current: ByteArray
    uv: FloatArray
    valid: BoolArray


class FlowSource(Protocol):
    """Samples by number."""

    def __len__(self) -> int:
        """How many different pairs there are."""

    def sample(self, index: int, rng: np.random.Generator) -> FlowSample:
        """Pair `index`; the same for the same index and state of `rng`."""


class PairFolder:
    """Pairs in files, read when they are asked for.

    Attributes:
        pairs: their files.
    """

    def __init__(self, pairs: Sequence[PairFiles]) -> None:
        self.pairs = tuple(pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def sample(self, index: int, rng: np.random.Generator) -> FlowSample:  # noqa: ARG002
        """Pair `index` as it is.

        Raises:
            SourceError: a file cannot be read.
            InputError: the .flo file is damaged, or the sizes differ.
        """
        pair = self.pairs[index].load()
        if pair.previous is None or pair.current is None:
            raise SourceError(f"pair {pair.name} has only flow; expected its two pictures as well")
        return flow_sample(pair.previous, pair.current, pair.uv, known(pair.uv))


class ChairsPairs:
    """Made-up pairs in the manner of FlyingChairs."""

    def __init__(self, options: ChairsOptions, count: int, first_seed: int = 0) -> None:
        """Pairs of the seeds `first_seed` ... `first_seed + count - 1`.

        Raises:
            InputError: the count or the seed is out of range.
            SourceError: a folder of backgrounds is missing or holds no picture.
        """
        if count < 1 or first_seed < 0:
            raise InputError(
                f"count is {count} and first_seed {first_seed}, expected at least 1 and 0"
            )
        self._count = count
        self._first = first_seed
        self._generator = ChairsGenerator(options)

    def __len__(self) -> int:
        return self._count

    def sample(self, index: int, rng: np.random.Generator) -> FlowSample:  # noqa: ARG002
        """Pair `index`; the flow is known everywhere, also of points that get hidden.

        Raises:
            InputError: there is no such pair.
            SourceError: a background cannot be decoded.
        """
        if not 0 <= index < self._count:
            raise InputError(f"pair {index} is not one of 0 to {self._count - 1}")
        pair = self._generator.pair(self._first + index)
        return {
            "previous": pair.previous,
            "current": pair.current,
            "uv": pair.uv,
            "valid": np.ones(pair.visible.shape, np.bool_),
        }


class ClipFrame(Protocol):
    """A frame of a rendered clip, such as `flowtrack.synthetic.SyntheticFrame`."""

    @property
    def image(self) -> ByteArray:
        """(H, W, 3) uint8 BGR."""

    @property
    def flow(self) -> FlowField | None:
        """To the next frame, a cell a pixel; None where there is none."""

    @property
    def flow_valid(self) -> BoolArray | None:
        """(H, W) where what a pixel shows is seen in the next frame too; None: not known."""


def pairs_of_clip(frames: Iterable[ClipFrame], *, hidden: bool = True) -> Iterator[FlowSample]:
    """Each frame of a clip with the next one.

    Args:
        frames: in order; a frame without flow starts no pair.
        hidden: pixels whose point cannot be seen in the next frame count too, as FlowNet was
            trained; otherwise they are not valid.

    Raises:
        InputError: a flow does not fit its picture.
    """
    before: ClipFrame | None = None
    for frame in frames:
        if before is not None and before.flow is not None:
            uv, seen = before.flow.uv, before.flow_valid
            mask = np.ones(uv.shape[1:], np.bool_) if hidden or seen is None else seen
            yield flow_sample(before.image, frame.image, uv, mask)
        before = frame


class FlowPool:
    """Pairs of one size kept in memory, 8 bytes a pixel (2 MB at 512 x 384).

    Rendering or reading a pair takes longer than a training step has; augmentation on top of a
    pool of some thousand pairs does not. Worker processes forked afterwards share the memory.
    """

    def __init__(self, samples: Iterable[FlowSample]) -> None:
        """Keep `samples`.

        Raises:
            InputError: there is none, or their sizes differ.
        """
        self._kept = [_Kept.of(sample) for sample in samples]
        sizes = {kept.previous.shape for kept in self._kept}
        if len(sizes) != 1:
            raise InputError(f"pictures have shapes {sorted(sizes)}, expected one size")

    def __len__(self) -> int:
        return len(self._kept)

    def sample(self, index: int, rng: np.random.Generator) -> FlowSample:  # noqa: ARG002
        """Pair `index`; the flow is rounded to 1/64 px."""
        return self._kept[index].sample()


def whole(source: FlowSource, seed: int = 0) -> Iterator[FlowSample]:
    """Every pair of a source once, in order: what a `FlowPool` is made from.

    Args:
        source: of pairs.
        seed: of what the source draws.
    """
    for index in range(len(source)):
        yield source.sample(index, np.random.default_rng((seed, index)))


def flow_sample(
    previous: ByteArray, current: ByteArray, uv: FloatArray, valid: npt.ArrayLike
) -> FlowSample:
    """A checked sample, its flow 0 where it is not known.

    Args:
        previous, current: (H, W, 3) uint8 BGR.
        uv: (2, H, W) in px.
        valid: (H, W) bool; pixels whose flow is not finite, or beyond 1e9, never count.

    Raises:
        InputError: a shape does not fit.
    """
    first = checked("previous", previous, ("H", "W", 3), np.uint8)
    second = checked("current", current, first.shape, np.uint8)
    height, width = first.shape[:2]
    flow = checked("uv", uv, (2, height, width), np.float32)
    mask = checked("valid", valid, (height, width), np.bool_) & known(flow)
    return {
        "previous": first,
        "current": second,
        "uv": np.where(mask, flow, np.float32(0.0)),
        "valid": mask,
    }


@dataclass(frozen=True, slots=True)
class _Kept:
    """A sample, smaller: the flow in steps of 1/64 px, the mask in bits."""

    previous: ByteArray
    current: ByteArray
    steps: npt.NDArray[np.int16]
    bits: ByteArray

    @classmethod
    def of(cls, sample: FlowSample) -> _Kept:
        # A flow too long to be kept is not known any more.
        valid = sample["valid"] & (np.abs(sample["uv"]) < _MOST_PX).all(axis=0)
        steps = np.where(valid, np.round(sample["uv"] * _STEPS_PER_PX), 0).astype(np.int16)
        return cls(sample["previous"], sample["current"], steps, np.packbits(valid, axis=1))

    def sample(self) -> FlowSample:
        width = self.previous.shape[1]
        valid = np.unpackbits(self.bits, axis=1, count=width).astype(np.bool_)
        uv = self.steps.astype(np.float32) / np.float32(_STEPS_PER_PX)
        return {"previous": self.previous, "current": self.current, "uv": uv, "valid": valid}
