"""Find weights of terms: the command `kdkit calibrate`, from a checkout."""

import sys

import which_python  # noqa: F401  explains a missing package

from kdkit.cli import main

if __name__ == "__main__":
    main(["calibrate", *sys.argv[1:]])
