"""Measure speed: benchmarks of the program and checks of a GPU."""
