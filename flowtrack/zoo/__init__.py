"""Public networks by name: what there is, downloading it, and turning it into bundles."""
