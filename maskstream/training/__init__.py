"""What makes weights: annotations, calibration."""
