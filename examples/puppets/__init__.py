"""Puppets: a drawn clip with exact truth, and networks that read it without any training.

Five articulated figures walk, wave, run, cross and hide one another. Every joint carries a disc
of its own colour and every figure a bib that encodes its box, so that two small ONNX graphs made
by hand can do what trained networks do on real people: miss the hidden and find the visible.
"""
