"""Command ``python -m kdkit``, the same as ``kdkit``."""

from kdkit.cli import main

if __name__ == "__main__":
    main()
