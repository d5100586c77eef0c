"""The training side: PyTorch networks and their checkpoints."""
