"""What the mesh costs, measured against the same machine without it: `python -m bench`."""
