"""Programs to copy, and the synthetic clip of the demo."""
