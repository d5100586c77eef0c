"""From meshes to pixels: camera, light, z-buffer, and the flow between two moments."""
