"""Measure what kdkit costs: the command `kdkit benchmark`, from a checkout."""

import sys

import which_python  # noqa: F401  explains a missing package

from kdkit.cli import main

if __name__ == "__main__":
    main(["benchmark", *sys.argv[1:]])
