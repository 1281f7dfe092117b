"""Write a student, or its teacher, alone as an ONNX file, and check it under onnxruntime.

    python tools/export_onnx.py CONFIG CHECKPOINT student.onnx
    python tools/export_onnx.py CONFIG CHECKPOINT student.onnx --size 224 224 --limit 500
    python tools/export_onnx.py CONFIG teacher.onnx --teacher

Input "images": float32 (N, 3, H, W), RGB from 0 to 255; mean and std are part of the network,
unless --no-preprocessing leaves them out. Output "embeddings": float32 (N, D). N is free, H and W
are fixed. The file's metadata says all this. Needs: pip install onnx onnxruntime

Before the file appears, the tool embeds the test data (or, where it is absent, random images) with
the original and with onnxruntime: every number of every embedding must agree within 1e-4, and
recall@K within 0.001. If not, no file is left. A file that is there is replaced only with
--overwrite.
"""

from __future__ import annotations

if __name__ == "__main__":
    import which_python  # noqa: F401  explains a missing package

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from torch import nn

from kd_core.checkpoint.atomic import put_in_place, temporary_folder
from kd_engine.doctor.probe import probe_images
from kd_engine.errors import clear_errors
from kd_engine.outputs import check_outputs, files_of
from kd_engine.runs import add_config_arguments, load_run_config
from kd_engine.terminal import short_terminal
from kd_retrieval.embeddings.embed import open_model, weights_digest
from kd_retrieval.onnx_check import OnnxCheck
from kd_retrieval.onnx_export import MAX_OPSET, MIN_OPSET, WithPreprocessing, export_onnx


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _parser().parse_intermixed_args(arguments)
    with clear_errors(), short_terminal("loading the config and its packages"):
        _require(options)
        given = (options.config, options.checkpoint)
        check_outputs([options.out], given, options.overwrite)
        out = Path(os.path.realpath(options.out))
        config = load_run_config(options.config, options.cfg_options)
        check_outputs([options.out], files_of(config), options.overwrite)
        model, _ = open_model(config, options.checkpoint, options.teacher)
        size = _size(options, config)
        with temporary_folder(out) as folder:
            written = folder / "model.onnx"
            _export(options, model, written, size)
            found = _check(options, config, model, written, size)
            put_in_place(written, out)
        mebibytes = out.stat().st_size / 2**20
        print(f"{options.out}: {mebibytes:.1f} MiB, images {size[0]} x {size[1]}")
        print(f"ok: {found}")


def _require(options: argparse.Namespace) -> None:
    """Refuse at once what cannot be exported."""
    if Path(options.out).suffix != ".onnx":
        raise ValueError(f"the output must end in .onnx, but it is {options.out}.")
    for name, values in (("size", options.size or ()), ("limit", (options.limit,))):
        if any(value is not None and value < 1 for value in values):
            raise ValueError(f"--{name} must be positive, but it is {', '.join(map(str, values))}.")


def _size(options: argparse.Namespace, config: Config) -> tuple[int, int]:
    if options.size:
        return options.size[0], options.size[1]
    images, _ = probe_images(config, 1)
    return int(images.shape[2]), int(images.shape[3])


def _export(
    options: argparse.Namespace, model: nn.Module, path: Path, size: tuple[int, int]
) -> None:
    plain = options.no_preprocessing
    metadata = {
        "input": "images: float32 (N, 3, H, W), "
        + ("normalized as the model expects" if plain else "RGB from 0 to 255, not normalized"),
        "output": "embeddings: float32 (N, D)",
        "height": str(size[0]),
        "width": str(size[1]),
        "preprocessing": "not included" if plain else "included: mean and std",
        "weights_sha256": weights_digest(model),
    }
    export_onnx(model if plain else WithPreprocessing(model), path, size, options.opset, metadata)


def _check(
    options: argparse.Namespace,
    config: Config,
    model: nn.Module,
    path: Path,
    size: tuple[int, int],
) -> str:
    check = OnnxCheck(model, path, size, not options.no_preprocessing)
    first = check.on_random_images()
    if not config.get("test_dataloader"):
        return f"{first}\nrecall was not compared: the config has no test data"
    try:
        return str(check.on_test_data(config, options.limit))
    except FileNotFoundError as error:
        return f"{first}\nrecall was not compared: the test data is absent ({error})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config_arguments(parser)
    parser.add_argument(
        "checkpoint",
        nargs="?",
        help="file, URL or work dir; with --teacher the default is the config's",
    )
    parser.add_argument("out", help="file to write, .onnx")
    parser.add_argument("--teacher", action="store_true", help="export the teacher instead")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    parser.add_argument(
        "--size",
        nargs=2,
        type=int,
        metavar=("H", "W"),
        help="of the images, in pixels (default: that of the test images)",
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="check on N images of the test data (default: all)"
    )
    parser.add_argument(
        "--no-preprocessing", action="store_true", help="leave mean and std out of the network"
    )
    parser.add_argument(
        "--opset",
        type=int,
        default=MIN_OPSET,
        metavar="N",
        help=f"version of ONNX's operators, {MIN_OPSET} to {MAX_OPSET} (default: {MIN_OPSET})",
    )
    return parser


if __name__ == "__main__":
    main()
