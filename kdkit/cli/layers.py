"""List the layers of a student or teacher, to be selected in a config's terms.

    python tools/list_layers.py configs/hmat_faster_rcnn.py
    python tools/list_layers.py configs/hmat_faster_rcnn.py --teacher --depth 2
    python tools/list_layers.py mmdet::atss/atss_r50_fpn_1x_coco.py --match neck

Each line is a selector, the module's class, and the shape of its output in a dry run on two random
images. A module that returns several maps is shown as neck[0], neck[1], ...; neck[1:4] selects
three of them. A layer that runs several times in one forward cannot be selected.
"""

from __future__ import annotations

if __name__ == "__main__":
    import which_python  # noqa: F401  explains a missing package

import argparse
from collections.abc import Sequence

from kd_engine.build import student_config, without_initial_weights
from kd_engine.doctor.layer_table import layer_rows, layer_table
from kd_engine.entry_points import task_of
from kd_engine.errors import clear_errors
from kd_engine.evaluate import build_model, teacher_of
from kd_engine.runs import add_config_arguments, load_run_config
from kd_engine.terminal import short_terminal


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    with clear_errors(), short_terminal("loading the config and its packages"):
        config = load_run_config(options.config, options.cfg_options)
        dry_run = task_of(config).dry_run
        model = teacher_of(config)[0] if options.teacher else student_config(config.model)
        size = [] if options.size is None else [tuple(options.size)]
        plain = build_model(config, without_initial_weights(model))
        rows = layer_rows(plain, lambda built: dry_run(built, *size))
        print(layer_table(rows, options.depth, options.match))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config_arguments(parser)
    parser.add_argument("--teacher", action="store_true", help="list the teacher's layers")
    parser.add_argument("--depth", type=int, help="show names of at most so many parts")
    parser.add_argument("--match", default="", metavar="TEXT", help="show only what contains it")
    parser.add_argument(
        "--size",
        nargs=2,
        type=int,
        metavar=("HEIGHT", "WIDTH"),
        help="pixels of the random images (default: 256 320 of a detector; of an embedder or "
        "classifier what it wants, or 128 128 and 32 32)",
    )
    return parser


if __name__ == "__main__":
    main()
