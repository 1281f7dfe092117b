"""Write an embedder as an ONNX file, and check it under onnxruntime.

    kdkit export-onnx CONFIG CHECKPOINT student.onnx
    kdkit export-onnx CONFIG CHECKPOINT student.onnx --size 224 224 --limit 500
    kdkit export-onnx CONFIG teacher.onnx --teacher

Input "images": float32 (N, 3, H, W), RGB from 0 to 255; mean and std are part of the network,
unless --no-preprocessing leaves them out. Output "embeddings": float32 (N, D). N is free, H and W
are fixed. The file's metadata says all this. Needs: pip install 'kdkit[onnx]'

Before the file appears, the test data (or, where it is absent, random images) is embedded with the
original and with onnxruntime: every number of every embedding must agree within 1e-4, and
recall@K within 0.001. If not, no file is left. A file that is there is replaced only with
--overwrite.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click

from kd_core.packages import quick_imports
from kdkit.cli.command import (
    CHECKPOINT,
    CONFIG,
    checkpoint_argument,
    config_argument,
    overwrite_option,
    subcommand,
)

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import nn


@subcommand(__doc__, {**CONFIG, **CHECKPOINT, "OUT": "File to write, .onnx."})
@config_argument
@checkpoint_argument
@click.argument("out", type=click.Path())
@click.option("--teacher", is_flag=True, help="Export the teacher instead.")
@overwrite_option("a file that is there")
@click.option(
    "--size",
    nargs=2,
    type=int,
    metavar="H W",
    help="Of the images, in pixels (default: that of the test images).",
)
@click.option(
    "--limit", type=int, metavar="N", help="Check on N images of the test data (default: all)."
)
@click.option("--no-preprocessing", is_flag=True, help="Leave mean and std out of the network.")
@click.option(
    "--opset",
    default=17,
    show_default=True,
    metavar="N",
    help="Version of ONNX's operators, 17 to 20.",
)
def command(**given: Any) -> None:
    """Export."""
    with quick_imports():
        from kd_core.checkpoint.atomic import put_in_place, temporary_folder
        from kd_engine.config.load import load_run_config, parse_options
        from kd_engine.errors import clear_errors
        from kd_engine.outputs import check_outputs, files_of
        from kd_engine.terminal import short_terminal
        from kd_retrieval.embeddings.embed import open_model

    options = SimpleNamespace(**given)
    with clear_errors(), short_terminal("loading the config and its packages"):
        _require(options)
        read = (options.config, options.checkpoint)
        check_outputs([options.out], read, options.overwrite)
        out = Path(os.path.realpath(options.out))
        config = load_run_config(options.config, parse_options(options.cfg_options))
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


def _require(options: SimpleNamespace) -> None:
    """Refuse at once what cannot be exported."""
    if Path(options.out).suffix != ".onnx":
        raise ValueError(f"the output must end in .onnx, but it is {options.out}.")
    for name, values in (("size", options.size or ()), ("limit", (options.limit,))):
        if any(value is not None and value < 1 for value in values):
            raise ValueError(f"--{name} must be positive, but it is {', '.join(map(str, values))}.")


def _size(options: SimpleNamespace, config: Config) -> tuple[int, int]:
    if options.size:
        return options.size[0], options.size[1]
    from kd_engine.doctor.probe import probe_images

    images, _ = probe_images(config, 1)
    return int(images.shape[2]), int(images.shape[3])


def _export(options: SimpleNamespace, model: nn.Module, path: Path, size: tuple[int, int]) -> None:
    from kd_retrieval.embeddings.embed import weights_digest
    from kd_retrieval.onnx_export import WithPreprocessing, export_onnx

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
    options: SimpleNamespace,
    config: Config,
    model: nn.Module,
    path: Path,
    size: tuple[int, int],
) -> str:
    from kd_retrieval.onnx_check import OnnxCheck

    check = OnnxCheck(model, path, size, not options.no_preprocessing)
    first = check.on_random_images()
    if not config.get("test_dataloader"):
        return f"{first}\nrecall was not compared: the config has no test data"
    try:
        return str(check.on_test_data(config, options.limit))
    except FileNotFoundError as error:
        return f"{first}\nrecall was not compared: the test data is absent ({error})"
