"""The lean runtime: bundle in, tracked people out; imports neither torch nor onnx."""

from flowtrack.runtime.bundle import Bundle, open_bundle, write_bundle
from flowtrack.runtime.pipeline import Pipeline, Stream, open_pipeline

__all__ = ["Bundle", "Pipeline", "Stream", "open_bundle", "open_pipeline", "write_bundle"]
