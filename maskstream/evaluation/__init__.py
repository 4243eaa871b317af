"""What predictions are worth: matching, figures, reports."""
