"""Run the demo: the command `kdkit demo`, from a checkout."""

import sys

import which_python  # noqa: F401  explains a missing package

from kdkit.cli import main

if __name__ == "__main__":
    main(["demo", *sys.argv[1:]])
