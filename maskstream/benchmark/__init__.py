"""How fast it is, and against what."""
