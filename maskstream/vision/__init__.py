"""Functions for alignment and geometry on NumPy arrays and OpenCV, without state."""
