"""The table of inputs: every kind of file, stream and picture that people have, through the command line.

`table.py` has what a row is and how it is tried, the modules beside it have the rows. `python -m tests.inputs` tries them all.
"""
