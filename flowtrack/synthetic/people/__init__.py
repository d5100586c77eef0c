"""Bodies: how they are built, dressed and moved."""
