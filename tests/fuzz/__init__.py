"""Damaged files of every kind that the program reads: each ends in an answer or in one of our errors, in bounded time and memory.

`test_fuzz.py` tries some of each kind, always the same; `python -m tests.fuzz --seconds 600 --seed 7` tries others by hand.
"""
