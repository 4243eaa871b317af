"""Detect, align and classify batches of frames, and propagate faces between detections."""
