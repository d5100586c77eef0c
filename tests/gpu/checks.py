"""What holds on every device, as functions of it: run on GPUs here, and on the CPU elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.gpu.latency import LIMITS_PX, differences, opened
from benchmarks.gpu.subjects import Subject, feeds
from benchmarks.gpu.tracking import different, in_threads, stepped
from flowtrack.runtime.bundle import Bundle
from flowtrack.runtime.engines import open_engine
from flowtrack.runtime.pipeline import Pipeline, open_pipeline
from flowtrack.structs import Frame, TrackedFrame

SIZE = (270, 480)


def gives_what_the_cpu_gives(
    subject: Subject, device: str, graphs: bool, buckets: Sequence[int]
) -> None:
    """A network's places at every batch size, in a row and back again: buffers must not mix."""
    reference = open_engine(subject.content, "cpu", 1)
    engine = opened(subject.content, device, graphs)
    batches = subject.batches(buckets)
    for batch in (*batches, *reversed(batches)):
        given = feeds(reference, subject, batch, SIZE)
        expected = reference.infer(given)
        for _ in range(2):  # the second run replays what the first recorded
            apart = differences(expected, engine.infer(given))
            assert np.median(apart) <= LIMITS_PX[subject.precision], (subject.name, batch)


def reads_placed_frames(subject: Subject, device: str) -> None:
    """A frame that another engine of the device placed gives what the frame itself gives."""
    engine, other = (opened(subject.content, device) for _ in range(2))
    given = feeds(engine, subject, 2, SIZE)
    frames = [name for name, value in given.items() if value.dtype == np.uint8]
    placed = {**given, **{name: other.place(given[name]) for name in frames}}
    plain, again = engine.infer(given), engine.infer(placed)
    for name, values in plain.items():
        np.testing.assert_array_equal(values, again[name])
    turned = {**given, **{name: engine.place(given[name][::-1].copy()) for name in frames}}
    assert any((values != engine.infer(turned)[name]).any() for name, values in plain.items())


def tracks_as_the_cpu_does(bundle: Bundle, device: str, frames: Sequence[Frame]) -> None:
    """The same ids, and joints within a pixel but for those that were a matter of rounding."""
    pipelines = [open_pipeline(bundle, device=each) for each in ("cpu", device)]
    assert_alike(*(stepped(pipeline, frames) for pipeline in pipelines))


def forms_track_alike(bundle: Bundle, framed: Bundle, device: str, frames: Sequence[Frame]) -> None:
    """The frame-in form of a bundle on the device gives the tracks of the pictures form there."""
    pipelines = [open_pipeline(each, device=device) for each in (bundle, framed)]
    assert_alike(*(stepped(pipeline, frames) for pipeline in pipelines))


def assert_alike(one: Sequence[TrackedFrame], other: Sequence[TrackedFrame]) -> None:
    """Two runs over a clip differ by no more than rounding explains."""
    distances = []
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.tracks.id, b.tracks.id)
        distances.append(np.linalg.norm(a.poses.xy - b.poses.xy, axis=2).ravel())
    distance = np.concatenate(distances)
    assert np.isfinite(distance).sum() > 0
    assert np.nanmedian(distance) <= 0.2
    assert np.nanquantile(distance, 0.95) <= 4.0


def shares_nothing_between_threads(pipelines: Sequence[Pipeline], frames: Sequence[Frame]) -> None:
    """Streams at the same time, of one pipeline or of several, give what one alone gives."""
    alone = stepped(pipelines[0], frames)
    for result in in_threads(pipelines, frames):
        assert different(result, alone) == 0


def overlaps_as_it_steps(pipeline: Pipeline, frames: Sequence[Frame]) -> None:
    """`Pipeline.run`, whose stages share the device, gives what `Pipeline.step` gives."""
    overlapped = [tracked for _, tracked in pipeline.run(frames)]
    assert different(overlapped, stepped(pipeline, frames)) == 0
