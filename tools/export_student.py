"""Write a distilled student's weights alone: a plain detector, embedder or classifier.

    python tools/export_student.py CONFIG CHECKPOINT student.pth
    python tools/export_student.py CONFIG CHECKPOINT student.safetensors

Beside the weights goes the plain student's whole config, student.py. Before the two files appear,
the tool checks that the plain model, given them alone, loads the weights strictly and predicts the
same boxes, embeddings or logits as the distilled one: on a few test images, or on random ones
where the data is absent. Of a run with an EMAHook the averaged weights are exported. The teacher
is not needed.

In plain mmdet:  DetInferencer('student.py', 'student.pth')
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from kd_engine.build import read_engine_checkpoint
from kd_engine.errors import clear_errors
from kd_engine.runs import add_config_arguments, load_run_config
from kd_engine.student import check_out, student_checkpoint, write_student
from kd_engine.tasks import task_of


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    with clear_errors():
        check_out(options.out)
        config = load_run_config(options.config, options.cfg_options)
        task = task_of(config)
        content = student_checkpoint(read_engine_checkpoint(options.checkpoint), config)
        with tempfile.TemporaryDirectory(dir=_folder(options.out), prefix=".export.") as folder:
            weights, plain = (Path(folder) / path.name for path in _files(options.out))
            write_student(content, str(weights))
            plain.write_text(content["meta"]["cfg"], encoding="utf-8")
            found = task.check_export(config, options.checkpoint, str(weights), str(plain))
            for path, target in zip((weights, plain), _files(options.out), strict=True):
                os.replace(path, target)
        weights, plain = _files(options.out)
        count = sum(value.numel() for value in content["state_dict"].values())
        print(f"{weights}: {count:,} numbers, {weights.stat().st_size / 2**20:.1f} MiB")
        print(f"{plain}: its config; {task.STUDENT_ALONE.format(config=plain, weights=weights)}")
        print(f"ok: {found}")


def _files(out: str) -> tuple[Path, Path]:
    return Path(out), Path(out).with_suffix(".py")


def _folder(out: str) -> Path:
    folder = Path(out).parent
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config_arguments(parser)
    parser.add_argument("checkpoint", help="checkpoint of the run, file or URL")
    parser.add_argument("out", help="file to write, .pth or .safetensors")
    return parser


if __name__ == "__main__":
    main()
