"""Draw on frames: outlines and labels, anonymised faces, the grid of a window."""
