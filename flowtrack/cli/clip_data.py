"""Annotated clips for commands that run bundles on them: a data set's, or rendered ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from flowtrack.cli.console import progress_bar
from flowtrack.errors import OptionError

if TYPE_CHECKING:
    from flowtrack.evaluation.deployed.posetrack_set import TruthClip

Joints = Literal["all", "shared13", "body12"]
"""Which joints are scored."""


@dataclass(frozen=True)
class ClipData:
    """Where clips come from; None where an option is not given.

    Attributes:
        truth: a PoseTrack file, or a folder of them.
        images: folder that picture names are relative to.
        synthetic: so many clips are rendered.
    """

    truth: Path | None
    images: Path | None
    synthetic: int | None

    def check(self) -> None:
        """Refuse what cannot be done, and what would be ignored.

        Raises:
            OptionError: there are no clips, or they come from two places.
        """
        if (self.truth is None) == (self.synthetic is None):
            raise OptionError("expected one of --truth FILE or FOLDER (with --images) and "
                              "--synthetic N")  # fmt: skip
        if self.synthetic is not None and self.images is not None:
            raise OptionError("--images would be ignored (--synthetic renders its own); leave it "
                              "out")  # fmt: skip

    @property
    def name(self) -> str:
        """What to call the data."""
        if self.truth is None:
            return f"{self.synthetic} rendered clips"
        path = self.truth.resolve()
        return path.name.removesuffix(".gz").removesuffix(".json")

    @property
    def truth_folder(self) -> Path | None:
        """Where truth files lie; None of rendered ones."""
        if self.truth is None:
            return None
        path = self.truth.resolve()
        return path if path.is_dir() else path.parent

    @property
    def joints(self) -> str:
        """Joints to report unless told: of rendered people those that COCO labels as well.

        Networks of COCO have no neck and no top of the head, and what a rule makes of their other
        joints would be counted against the points on the body itself.
        """
        return "all" if self.synthetic is None else "shared13"

    @contextmanager
    def opened(self, keep: Path | None = None) -> Iterator[list[TruthClip]]:
        """The clips, while they are needed.

        Args:
            keep: folder for rendered clips; None takes one that goes in the end.
        """
        from flowtrack.evaluation.deployed.posetrack_set import open_clips

        if self.truth is not None:
            yield open_clips(self.truth, self.images)
            return
        from tempfile import TemporaryDirectory

        from flowtrack.synthetic.validation import validation_clips, write_validation

        assert self.synthetic is not None  # `check` asks for one of the two
        clips = validation_clips(self.synthetic)
        with TemporaryDirectory(prefix="flowtrack-clips-") as scratch:
            folder = keep or Path(scratch)
            with progress_bar() as bar:
                total = sum(options.frames for options in clips.values())
                task = bar.add_task("rendering", total=total)
                write_validation(folder, clips, lambda: bar.advance(task))
            yield open_clips(folder)
