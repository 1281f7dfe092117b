"""Train a model: the command `kdkit train`, from a checkout."""

import sys

import which_python  # noqa: F401  explains a missing package

from kdkit.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
