"""Compare predictions with labels: matching, metrics, reports."""
