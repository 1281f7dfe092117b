"""Measure what kdkit costs on this machine.

    python tools/benchmark.py distill
    python tools/benchmark.py distill configs/bccd/hmat_asckd.py --size 240 320 --batch 8
    python tools/benchmark.py distill --device cuda --size 800 1333 --out benchmark.json
    python tools/benchmark.py recall
    python tools/benchmark.py recall --sizes sop512 200k --rounds 3 --threads 2 --out recall.json

distill: the time of a distilled training step over that of the student's own step and the
teacher's extract_feat together; the peak memory of each; the time of each term; the memory of
HMAT on a map of stride 4. Weights and images are random: no data set and no download is needed.

recall: the time of recall_at_k, all K, over that of a search of one neighbour by FAISS, and of
pytorch-metric-learning's precision at 1; the memory it takes. Embeddings are synthetic.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from kd_engine.runs import clear_errors, load_run_config
from kd_engine.student import write_json

DEFAULT_CONFIG = "configs/hmat_asckd_faster_rcnn.py"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    with clear_errors():
        options.run(options)


def _distill(options: argparse.Namespace) -> None:
    from mmengine.logging import MMLogger

    MMLogger.get_current_instance().setLevel("ERROR")
    config = load_run_config(options.config)
    from kd_det.benchmark import Settings, describe, measure_distillation  # after the operators

    settings = Settings(
        tuple(options.size), options.batch, options.rounds, options.device, tuple(options.hmat_size)
    )
    report = measure_distillation(config, settings)
    report["config"] = options.config
    print(describe(report))
    if options.out:
        write_json(report, options.out)


def _recall(options: argparse.Namespace) -> None:
    from kd_retrieval.recall_benchmark import RecallSettings, describe, measure_recall

    report = measure_recall(
        RecallSettings(options.sizes, options.rounds, options.threads, options.device)
    )
    print(describe(report))
    if options.out:
        write_json(report, options.out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_distill(commands.add_parser("distill", help="cost of a distilled training step"))
    _add_recall(commands.add_parser("recall", help="cost of exact recall@K"))
    return parser


def _add_distill(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_distill)
    parser.add_argument(
        "config", nargs="?", default=DEFAULT_CONFIG, help=f"default: {DEFAULT_CONFIG}"
    )
    parser.add_argument(
        "--size", nargs=2, type=_positive, default=(256, 320), metavar=("HEIGHT", "WIDTH"),
        help="pixels of the images (default: 256 320)",
    )  # fmt: skip
    parser.add_argument("--batch", type=_positive, default=2, help="images (default: 2)")
    parser.add_argument("--rounds", type=_positive, default=12, help="rounds (default: 12)")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:<n>")
    parser.add_argument(
        "--hmat-size", nargs=2, type=_positive, default=(800, 1333), metavar=("HEIGHT", "WIDTH"),
        help="pixels of the two images of the memory measurement (default: 800 1333)",
    )  # fmt: skip
    parser.add_argument("--out", metavar="FILE", help="write all numbers as JSON")


def _add_recall(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_recall)
    parser.add_argument(
        "--sizes", nargs="+", default=["cub", "sop128"], metavar="NAME",
        help="of cub, sop128, sop512, 200k and 1m (default: cub sop128)",
    )  # fmt: skip
    parser.add_argument("--rounds", type=_positive, default=5, help="rounds (default: 5)")
    parser.add_argument("--threads", type=_positive, help="of torch and FAISS (default: theirs)")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:<n>")
    parser.add_argument("--out", metavar="FILE", help="write all numbers as JSON")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, but it is {value}.")
    return value


if __name__ == "__main__":
    main()
