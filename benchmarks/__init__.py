"""Measurements of flowtrack: kernels, stages of a frame, start, video; results as JSON."""
