"""`python -m hauberk`: the same as the `hauberk` command."""

from __future__ import annotations

import sys

from hauberk.cli import main

if __name__ == "__main__":
    sys.exit(main.main())
