"""Make the built-in digits: the command `kdkit make-digits`, from a checkout."""

import sys

import which_python  # noqa: F401  explains a missing package

from kdkit.cli import main

if __name__ == "__main__":
    main(["make-digits", *sys.argv[1:]])
