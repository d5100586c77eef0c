"""Results out: PoseTrack JSON, JSON lines, annotated video."""

from __future__ import annotations

from flowtrack.runtime.output.jsonl import JsonLinesWriter, read_jsonl
from flowtrack.runtime.output.mp4 import Mp4Writer, VideoOptions
from flowtrack.runtime.output.opening import (
    SUFFIXES,
    StopRequest,
    Writers,
    interruptible,
    open_writers,
)
from flowtrack.runtime.output.posetrack import PoseTrack17Writer, PoseTrack18Writer
from flowtrack.runtime.output.writer import Clip, NamedClip, ResultWriter

__all__ = [
    "SUFFIXES",
    "Clip",
    "JsonLinesWriter",
    "Mp4Writer",
    "NamedClip",
    "PoseTrack17Writer",
    "PoseTrack18Writer",
    "ResultWriter",
    "StopRequest",
    "VideoOptions",
    "Writers",
    "interruptible",
    "open_writers",
    "read_jsonl",
]
