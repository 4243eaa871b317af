"""Detect, align and classify batches of frames, and propagate faces between two looks of the detector."""
