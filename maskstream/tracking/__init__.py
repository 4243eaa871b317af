"""From frames to people: who is whom, what each wears over time, where they stand, and what is worth telling."""
