"""Functions on NumPy arrays and OpenCV, without state."""
