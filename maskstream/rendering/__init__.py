"""Drawing on frames: outlines and labels, covered faces, the grid of a window."""
