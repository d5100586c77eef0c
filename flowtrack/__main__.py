"""`python -m flowtrack`: the same as the command, for programs that start modules (torchrun)."""

from __future__ import annotations

from flowtrack.cli import main

if __name__ == "__main__":
    main()
