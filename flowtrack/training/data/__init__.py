"""Annotated pictures of people, mixed, augmented and drawn in a reproducible order."""
