"""The schema of the configuration, its layers, and lists of cameras."""
