"""Check what a training needs: the command `kdkit check`, from a checkout."""

import sys

import which_python  # noqa: F401  explains a missing package

from kdkit.cli import main

if __name__ == "__main__":
    main(["check", *sys.argv[1:]])
