#!/usr/bin/env python3
"""Watch cameras, video or images and report for each face whether it wears a mask: `maskstream run` without an installation.

python run_stream.py --source clip.mp4 --output out.mp4 --jsonl faces.jsonl --csv faces.csv
"""

from collections.abc import Sequence

from maskstream.cli.main import leave, run_command


def main(argv: Sequence[str] | None = None) -> int:
    return run_command("run", argv, "run_stream.py")


if __name__ == "__main__":
    leave(main())
