"""Archives and cameras on more than one machine: place the work, keep what each machine found, and merge it exactly once."""
