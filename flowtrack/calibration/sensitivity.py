"""Which layers suffer most from lower precision: each converted alone, and the results compared.

The measure is the same for INT8 and fp16 and needs no truth: what the last layers give, before
boxes are sorted and maxima sought, as the Euclidean norm of the differences relative to that of
the values, over a few feeds. Where several layers are last, the one that suffers most counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from flowtrack.calibration.layers import Network
from flowtrack.errors import InputError
from flowtrack.report import Curve, Report
from flowtrack.runtime.engines import Engine, open_engine

Array = npt.NDArray[Any]
Feed = Mapping[str, Array]

MOST_RUNS = 40
"""Layers of networks with more are converted in blocks of neighbours."""


@dataclass(frozen=True)
class Damage:
    """What converting a layer, or a block of neighbouring ones, alone does to the last layers.

    Attributes:
        layers: names of the nodes.
        loss: largest relative error of a last layer; infinite where it is not finite any more.
    """

    layers: tuple[str, ...]
    loss: float

    @property
    def name(self) -> str:
        """The layer, or the first and last of the block."""
        first, last = self.layers[0], self.layers[-1]
        return first if len(self.layers) == 1 else f"{first} ... {last}"


def blocks(layers: Sequence[str], most: int = MOST_RUNS) -> list[tuple[str, ...]]:
    """Layers in at most `most` blocks of neighbours, as even as can be."""
    count = min(len(layers), most)
    ends = [len(layers) * place // count for place in range(count + 1)] if count else [0]
    return [tuple(layers[start:end]) for start, end in pairwise(ends)]


def rank_layers(
    model: bytes,
    convert: Callable[[tuple[str, ...]], bytes],
    layers: Sequence[str],
    feeds: Sequence[Feed],
    progress: Callable[[], None] | None = None,
) -> list[Damage]:
    """Convert block by block and measure.

    Args:
        model: fp32 graph.
        convert: gives the graph in which only the layers of these names are converted; what the
            last layers make keeps its name.
        layers: all that can be converted, in the graph's order.
        feeds: of a few runs.
        progress: called after each block.

    Returns:
        The worst first.

    Raises:
        InputError: there is nothing to feed.
        EngineError: a graph cannot be run.
    """
    if not feeds:
        raise InputError("nothing was recorded to measure on, expected at least one run of the "
                         "network; give frames that show people")  # fmt: skip
    network = Network(model)
    heads = network.heads()
    reference = _open_heads(network.model, heads)
    expected = [reference.infer(feed) for feed in feeds]
    ranked = []
    for block in blocks(layers):
        engine = _open_heads(onnx.load_model_from_string(convert(block)), heads)
        loss = output_loss(expected, (engine.infer(feed) for feed in feeds))
        ranked.append(Damage(block, loss))
        if progress is not None:
            progress()
    return sorted(ranked, key=lambda damage: -damage.loss)


def _open_heads(model: Any, heads: Sequence[str]) -> Engine:
    """A network that ends with its last layers."""
    del model.graph.output[:]
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in heads
    )
    return open_engine(model.SerializeToString(), "cpu")


def output_loss(expected: Iterable[Feed], found: Iterable[Feed]) -> float:
    """Relative error of the outputs' Euclidean norms over all runs, of the worst output."""
    squares: dict[str, list[float]] = {}
    for before, after in zip(expected, found, strict=True):
        for name, values in before.items():
            wide = values.astype(np.float64)
            with np.errstate(invalid="ignore"):
                moved = float(np.square(after[name].astype(np.float64) - wide).sum())
            total = squares.setdefault(name, [0.0, 0.0])
            total[0] += moved
            total[1] += float(np.square(wide).sum())
    losses = [_ratio(*pair) for pair in squares.values()]
    return math.inf if any(math.isnan(loss) for loss in losses) else max(losses)


def _ratio(moved: float, size: float) -> float:
    if moved == 0:
        return 0.0
    return math.sqrt(moved / size) if size > 0 else math.inf


def sensitivity_table(ranked: Sequence[Damage], most: int | None = None) -> list[list[str]]:
    """The heading, then a row for each of the worst blocks."""
    rows = [[damage.name, _percent(damage.loss)] for damage in ranked[:most]]
    return [["layer", "results move by"], *rows]


def sensitivity_dict(ranked: Sequence[Damage]) -> list[dict[str, Any]]:
    """The ranking for JSON; null where an output is not finite."""
    return [
        {"layers": list(damage.layers), "loss": damage.loss if math.isfinite(damage.loss) else None}
        for damage in ranked
    ]


def add_sensitivity(report: Report, part: str, ranked: Sequence[Damage]) -> None:
    """Put the ranking of a part on a page: the plot, then the table."""
    report.heading(f"What each layer costs: {part}")
    points = [(float(place + 1), 100 * damage.loss) for place, damage in enumerate(ranked)]
    if len(points) > 1:
        report.plot(
            [Curve("converted alone", points, marked=True)],
            x="layers, the worst first",
            y="results move by, %",
            caption="Each layer, or block of neighbours, converted alone",
        )
    report.table(sensitivity_table(ranked), "The worst first")


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%" if math.isfinite(share) else "not finite"
