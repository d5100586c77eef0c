"""Clips: people who move, meet and hide each other before a camera that may move too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from flowtrack.synthetic.clip_options import ClipOptions
from flowtrack.synthetic.stage import Stage
from flowtrack.synthetic.truth import SyntheticFrame


@dataclass(frozen=True)
class Clip:
    """A clip that is rendered as it is iterated over, again from the start each time.

    Attributes:
        options: what it shows.
    """

    options: ClipOptions = field(default_factory=ClipOptions)

    def __len__(self) -> int:
        return self.options.frames

    def __iter__(self) -> Iterator[SyntheticFrame]:
        return Stage(self.options).frames()


def render_clip(options: ClipOptions | None = None) -> Clip:
    """The clip of the given options; rendering happens while it is iterated over."""
    return Clip(options or ClipOptions())
