"""`python -m maskstream` is the command `maskstream`."""

import sys

from maskstream.cli.main import program

if __name__ == "__main__":
    sys.exit(program())
