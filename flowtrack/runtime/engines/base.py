"""The two-method boundary of inference: `infer` checks names, types and shapes; a backend runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flowtrack.errors import InputError

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class DeviceArray:
    """An array that lies where an engine runs, see `Engine.place`.

    Attributes:
        dtype, shape: as of a numpy array.
        device: of the engines that can read it.
        handle: what the backend knows it by; it keeps the memory alive.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    device: str
    handle: Any

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, type and shape of a graph's input or output.

    Attributes:
        shape: an int where an axis is fixed, a name (or None) where it is free.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str | None, ...]

    def check(self, array: Any) -> None:
        """Refuse what the graph would not take.

        Raises:
            InputError: it is no array, or its type, number of axes or a fixed size differs.
        """
        if not isinstance(array, np.ndarray | DeviceArray):
            kind = type(array).__name__
            raise InputError(f"input {self.name!r} is a {kind}, expected a numpy array")
        if array.dtype != self.dtype:
            raise InputError(f"input {self.name!r} is {array.dtype}, the graph takes {self.dtype}")
        fits = array.ndim == len(self.shape) and all(
            not isinstance(want, int) or want == have
            for want, have in zip(self.shape, array.shape, strict=True)
        )
        if not fits:
            raise InputError(
                f"input {self.name!r} has shape {array.shape}, the graph takes {self.shape}"
            )


class Engine(ABC):
    """A network ready to run.

    Engines hold no state between calls; `infer` may be called from several threads.

    Attributes:
        inputs, outputs: what the graph takes and gives, in the graph's order.
        device: where it runs, for people to read.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    device: str

    def place(self, array: Array) -> Array | DeviceArray:
        """Bring an input to where the network runs, so that several runs can read it.

        Engines of the same device share what any of them placed. Where there is nothing to be
        gained, the array itself is returned.
        """
        return array

    def infer(self, feeds: Mapping[str, Array | DeviceArray]) -> dict[str, Array]:
        """Run the network once.

        Args:
            feeds: an array for every input, by name; see `place` for those that lie on a device.

        Returns:
            An array for every output, by name.

        Raises:
            InputError: names, types or shapes do not fit the graph.
            EngineError: the backend failed.
        """
        names = {spec.name for spec in self.inputs}
        if set(feeds) != names:
            raise InputError(f"fed {sorted(feeds)}, the graph takes {sorted(names)}")
        for spec in self.inputs:
            spec.check(feeds[spec.name])
        return self._run(feeds)

    @abstractmethod
    def _run(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        """Run checked inputs."""

    @property
    def fixed_batch(self) -> int | None:
        """The batch size that the first input is fixed to; None where it is free."""
        size = self.inputs[0].shape[0] if self.inputs[0].shape else None
        return size if isinstance(size, int) else None
