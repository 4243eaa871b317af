"""Events: decided from the people in each frame, counted by the minute, written as records, queued and delivered."""
