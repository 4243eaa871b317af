"""Analyse with more than one process or machine: archives of recordings, and cameras that are placed on nodes."""
