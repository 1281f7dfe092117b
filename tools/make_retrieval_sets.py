"""Make retrieval sets: the command `kdkit make-retrieval-sets`, from a checkout."""

import sys

import which_python  # noqa: F401  explains a missing package

from kdkit.cli import main

if __name__ == "__main__":
    main(["make-retrieval-sets", *sys.argv[1:]])
