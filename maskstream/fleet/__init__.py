"""Archives and sites: where workers and agents run, what they do, and how their records are merged."""
