"""The three networks in PyTorch."""
