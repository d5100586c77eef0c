"""What several test modules share: tiny ONNX graphs, and bundles made of them."""
