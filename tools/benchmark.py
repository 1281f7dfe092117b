"""Measure what kdkit costs on this machine: `python -m benchmarks`, from any folder."""

from __future__ import annotations

if __name__ == "__main__":
    import which_python  # noqa: F401  explains a missing package

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.__main__ import main

if __name__ == "__main__":
    main()
