"""Command line of the benchmarks: the cost of kdkit on this machine.

    python -m benchmarks distill
    python -m benchmarks distill configs/det/hmat_asckd+bccd --size 240 320 --batch 8
    python -m benchmarks distill --device cuda --size 800 1333 --out benchmark.json
    python -m benchmarks distill configs/cls/kd+digits --threads 1 --auto-weights
    python -m benchmarks terms --kinds roi crosskd --out terms.jsonl
    python -m benchmarks recall
    python -m benchmarks recall --sizes sop512 200k --rounds 3 --threads 2 --out recall.json
    python -m benchmarks gpu --out gpu.jsonl
    python -m benchmarks face --clients 32 --seconds 60
    python -m benchmarks face --pictures 1000 100000 300000

distill: the time of a distilled training step over that of the steps of its networks alone: the
student's own step and the teacher's forward (a detector's extract_feat), or all networks of a
method that trains several; the peak memory of each; the time of each term, and of automatic
weights; of detectors the memory of HMAT on a map of stride 4; of classifiers the step of
torchdistill, if it is installed and has the method. Weights and images are random: no dataset and
no download is needed.

terms: the same ratio of each kind of term of a detector, one line each: feature losses, masks, ROI
head, RPN, dense responses, CrossKD, queries and memory of a DINO.

recall: the time of recall_at_k, all K, over that of a search of one neighbor by FAISS, and of
pytorch-metric-learning's precision at 1; the memory it takes. Embeddings are synthetic.

gpu: recall with its kernel and without, the step in three precisions, gradients against the
CPU's, training with --amp and real loading, peak memory, torchrun, and a profile, on a GPU; each
result is appended to the file as it comes.

face: clients that recognize, browse, change people, review and watch, all at once, on a face server
of their own; requests and milliseconds of each route, and the server's peak memory. An error other
than 429, a wrong name or a lost person ends it with status 1. With --pictures: building, searching
and changing the index of a gallery of drawn rows.

Run it in a checkout of the repository, or as `kdkit benchmark` from any folder.
"""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from mmengine.config import Config

from kd_engine.config.load import load_run_config
from kd_engine.devices import named_device
from kd_engine.entry_points import package_of
from kd_engine.errors import clear_errors
from kd_engine.evaluate import write_json
from kd_engine.outputs import check_outputs
from kd_engine.run.malloc import keep_freed_memory
from kd_engine.terminal import short_terminal

DEFAULT_CONFIG = "configs/hmat_asckd_faster_rcnn.py"
MEASURED = {"kd_det": "benchmarks.det.cost", "kd_cls": "benchmarks.cls.cost"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    with clear_errors(), short_terminal("measuring"):
        named_device(options.device or "cpu")
        check_outputs([options.out], [getattr(options, "config", None)], options.overwrite)
        options.run(options)


def _distill(options: argparse.Namespace) -> None:
    from benchmarks.step_costs import with_auto_weights

    _log_errors_only()
    if options.threads:
        torch.set_num_threads(options.threads)
    keep_freed_memory()  # as kdkit train does
    config = load_run_config(options.config)
    module = _benchmark_of(config, options.config)
    if options.auto_weights:
        config.model = with_auto_weights(config.model.to_dict())
    report = module.measure_distillation(config, module.Settings(**_given(options, module)))
    report["config"] = options.config
    print(module.describe(report))
    if options.out:
        write_json(report, options.out)


def _benchmark_of(config: Config, name: str) -> ModuleType:
    """Import the benchmark for the package that serves a config."""
    package = package_of(config)
    if package not in MEASURED:
        raise ValueError(
            f"distill measures configs of {' and '.join(MEASURED)}, but {name} is one of {package}."
        )
    return importlib.import_module(MEASURED[package])


def _given(options: argparse.Namespace, module: ModuleType) -> dict[str, Any]:
    """Return the settings that the command line names; the others are the package's."""
    named = {
        name: tuple(value) if isinstance(value, list) else value
        for name in ("size", "batch", "rounds", "device", "hmat_size")
        if (value := getattr(options, name)) is not None
    }
    known = {field.name for field in fields(module.Settings)}
    if unknown := sorted(set(named) - known):
        raise ValueError(f"{', '.join(unknown)} is for detectors only; leave it out.")
    return named


def _terms(options: argparse.Namespace) -> None:
    from benchmarks.det.terms import TermSettings, head_lines, line_of, measure_terms

    _log_errors_only()
    if options.threads:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    settings = TermSettings(
        options.kinds, tuple(options.size), options.batch, options.rounds, options.device
    )
    print("\n".join(head_lines(settings)), flush=True)
    reports = []
    for report in measure_terms(settings):
        print(line_of(report), flush=True)
        reports.append(report)
        if options.out:
            write_json({"kinds": reports}, options.out)


def _recall(options: argparse.Namespace) -> None:
    from benchmarks.recall.cost import RecallSettings, describe, measure_recall

    report = measure_recall(
        RecallSettings(options.sizes, options.rounds, options.threads, options.device)
    )
    print(describe(report))
    if options.out:
        write_json(report, options.out)


def _gpu(options: argparse.Namespace) -> None:
    from benchmarks.gpu import GpuSettings, measure_all, tiny

    _log_errors_only()
    settings = GpuSettings(options.device, data=options.data)
    settings = tiny(settings) if options.tiny else settings
    measure_all(load_run_config(options.config), settings, options.out)


def _face(options: argparse.Namespace) -> None:
    if os.environ.get("KD_FACE_DATABASE"):  # somebody's own
        raise ValueError(
            "the benchmark has databases of its own, but KD_FACE_DATABASE is set. Unset it."
        )
    if options.pictures:
        _search(options)
        return
    from benchmarks.face.load import LoadSettings, describe, measure_load
    from kd_face.demo.gallery import ORL

    orl = Path(os.environ.get("KD_DATA", "data"), ORL)
    is_drawn = options.drawn or options.networks == "stand-ins" or not orl.is_dir()
    report = measure_load(
        LoadSettings(options.clients, options.seconds, options.networks, None if is_drawn else orl)
    )
    print(describe(report))
    if options.out:
        write_json(report, options.out)
    if report["problems"]:
        raise SystemExit(1)


def _search(options: argparse.Namespace) -> None:
    from benchmarks.face.search import describe, measure_search

    report = measure_search(options.pictures)
    print(describe(report))
    if options.out:
        write_json({"galleries": report}, options.out)


def _log_errors_only() -> None:
    from mmengine.logging import MMLogger

    MMLogger.get_current_instance().setLevel("ERROR")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_distill(commands.add_parser("distill", help="cost of a distilled training step"))
    _add_terms(commands.add_parser("terms", help="cost of each kind of term of a detector"))
    _add_recall(commands.add_parser("recall", help="cost of exact recall@K"))
    _add_gpu(commands.add_parser("gpu", help="all that a GPU is to be measured with"))
    _add_face(commands.add_parser("face", help="load of the face server"))
    return parser


def _add_face(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_face, device="cpu")
    parser.add_argument("--clients", type=_positive, default=32, help="default: 32")
    parser.add_argument("--seconds", type=_positive, default=60, help="default: 60")
    parser.add_argument(
        "--networks", choices=["dlib", "stand-ins"], help="default: dlib where it is installed"
    )
    parser.add_argument("--drawn", action="store_true", help="drawn faces, not those of ORL")
    parser.add_argument(
        "--pictures", nargs="+", type=_positive, metavar="N",
        help="measure the index of galleries of so many pictures, in the place of the load",
    )  # fmt: skip
    parser.add_argument("--out", metavar="FILE", help="write all numbers as JSON")
    parser.add_argument("--overwrite", action="store_true", help="replace that file if it is there")


def _add_gpu(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_gpu, overwrite=True)  # a file that is there grows
    parser.add_argument("--config", default=DEFAULT_CONFIG, help=f"default: {DEFAULT_CONFIG}")
    parser.add_argument("--device", default="cuda", help="cuda (default), cuda:<n>, or cpu")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes: try the command")
    parser.add_argument(
        "--data", default="", metavar="FOLDER",
        help="laid out like COCO, for the training (default: random images)",
    )  # fmt: skip
    parser.add_argument("--out", metavar="FILE", required=True, help="JSON, one result a line")


def _add_distill(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_distill)
    parser.add_argument(
        "config", nargs="?", default=DEFAULT_CONFIG, help=f"default: {DEFAULT_CONFIG}"
    )
    parser.add_argument(
        "--size", nargs=2, type=_positive, metavar=("HEIGHT", "WIDTH"),
        help="pixels of the images (default: 256 320; for classifiers the student's size)",
    )  # fmt: skip
    parser.add_argument("--batch", type=_positive, help="images (default: 2; of classifiers 64)")
    parser.add_argument("--rounds", type=_positive, help="default: 12; of classifiers 60")
    parser.add_argument("--threads", type=_positive, help="of torch (default: its own)")
    parser.add_argument("--device", help="cpu (default), cuda or cuda:<n>")
    parser.add_argument(
        "--auto-weights", action="store_true", help="let all terms have weight='auto'"
    )
    parser.add_argument(
        "--hmat-size", nargs=2, type=_positive, metavar=("HEIGHT", "WIDTH"),
        help="detectors: pixels of the two images of the memory measurement (default: 800 1333)",
    )  # fmt: skip
    parser.add_argument("--out", metavar="FILE", help="write all numbers as JSON")
    parser.add_argument("--overwrite", action="store_true", help="replace that file if it is there")


def _add_terms(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_terms)
    parser.add_argument("--kinds", nargs="+", default=[], metavar="NAME", help="default: all")
    parser.add_argument(
        "--size", nargs=2, type=_positive, default=(256, 320), metavar=("HEIGHT", "WIDTH"),
        help="pixels of the images (default: 256 320)",
    )  # fmt: skip
    parser.add_argument("--batch", type=_positive, default=2, help="images (default: 2)")
    parser.add_argument("--rounds", type=_positive, default=12, help="default: 12")
    parser.add_argument("--threads", type=_positive, help="of torch (default: its own)")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:<n>")
    parser.add_argument("--out", metavar="FILE", help="write all numbers as JSON")
    parser.add_argument("--overwrite", action="store_true", help="replace that file if it is there")


def _add_recall(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_recall)
    parser.add_argument(
        "--sizes", nargs="+", default=["cub", "sop128"], metavar="NAME",
        help="of tiny (a trial), cub, sop128, sop512, 200k and 1m (default: cub sop128)",
    )  # fmt: skip
    parser.add_argument("--rounds", type=_positive, default=5, help="rounds (default: 5)")
    parser.add_argument("--threads", type=_positive, help="of torch and FAISS (default: theirs)")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:<n>")
    parser.add_argument("--out", metavar="FILE", help="write all numbers as JSON")
    parser.add_argument("--overwrite", action="store_true", help="replace that file if it is there")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, but it is {value}.")
    return value


if __name__ == "__main__":
    main()
