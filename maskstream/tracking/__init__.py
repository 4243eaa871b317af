"""Track people from frame to frame, filter their labels over time, and assign them to zones."""
