"""Video in: files, folders, globs, cameras and network streams."""

from __future__ import annotations

from flowtrack.runtime.video.opening import SourceSpec, expand_sources, open_source
from flowtrack.runtime.video.pictures import pictures_in, read_picture
from flowtrack.runtime.video.source import Problem, Source, SourceOptions

__all__ = [
    "Problem",
    "Source",
    "SourceOptions",
    "SourceSpec",
    "expand_sources",
    "open_source",
    "pictures_in",
    "read_picture",
]
