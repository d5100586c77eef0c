"""The lean runtime: bundle in, tracked people out; imports neither torch nor onnx."""
