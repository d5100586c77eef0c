"""From PyTorch to verified ONNX graphs."""
