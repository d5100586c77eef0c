"""Video in: files, folders, globs, cameras and network streams."""
