"""The table of inputs: every common kind of file, stream and image, through the command line.

`table.py` defines a row and runs it; the other modules contain the rows. `python -m tests.inputs` runs them all.
"""
