"""Write a distilled student's weights alone: a plain detector, embedder or classifier.

    python tools/export_student.py CONFIG CHECKPOINT student.pth
    python tools/export_student.py CONFIG CHECKPOINT student.safetensors

Beside the weights goes the plain student's whole config, student.py. Before the two files appear,
the tool checks that the plain model, given them alone, loads the weights strictly and predicts the
same boxes, embeddings or logits as the distilled one: on a few test images, or on random ones
where the data is absent. Of a run with an EMAHook the averaged weights are exported. The teacher
is not needed. The last lines say how the student is used: a command to copy.

Nothing that is there is replaced without --overwrite, and nothing but an earlier export with it.
"""

from __future__ import annotations

if __name__ == "__main__":
    import which_python  # noqa: F401  explains a missing package

import argparse
from collections.abc import Sequence

from kd_core.checkpoint.atomic import put_in_place, temporary_folder
from kd_engine.build import read_engine_checkpoint
from kd_engine.entry_points import task_of
from kd_engine.errors import clear_errors
from kd_engine.evaluate import check_out, student_checkpoint, write_student
from kd_engine.export_files import (
    check_export_files,
    export_files,
    exported_config,
    wants_config,
)
from kd_engine.outputs import files_of
from kd_engine.runs import add_config_arguments, load_run_config
from kd_engine.terminal import short_terminal
from kd_engine.work_dir.run_checkpoint import checkpoint_file


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    with clear_errors(), short_terminal("loading the config and its packages"):
        check_out(options.out)
        given = (options.config, options.checkpoint)
        check_export_files(options.out, given, options.overwrite)
        config = load_run_config(options.config, options.cfg_options)
        checkpoint = checkpoint_file(options.checkpoint, config)
        check_export_files(options.out, (checkpoint, *files_of(config)), options.overwrite)
        task = task_of(config)
        read = read_engine_checkpoint(checkpoint)
        content = student_checkpoint(read, config, task.export_defaults)
        out, out_plain = export_files(options.out)
        usage = task.student_alone(config, str(out_plain), str(out))
        text = exported_config(content["meta"]["cfg"], usage)
        wanted = wants_config(out_plain, text, options.overwrite)
        with temporary_folder(out) as folder:
            weights, plain = folder / out.name, folder / out_plain.name
            write_student(content, str(weights))
            plain.write_text(text, encoding="utf-8")
            found = task.check_export(config, checkpoint, str(weights), str(plain))
            put_in_place(weights, out)
            if wanted:
                put_in_place(plain, out_plain)
        count = sum(value.numel() for value in content["state_dict"].values())
        print(f"{out}: {count:,} numbers, {out.stat().st_size / 2**20:.1f} MiB")
        print(f"{out_plain}: its config{'' if wanted else ', as it was there already'}")
        print(f"ok: {found}\n{usage}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config_arguments(parser)
    parser.add_argument("checkpoint", help="checkpoint of the run: file, URL or its work dir")
    parser.add_argument("out", help="file to write, .pth or .safetensors")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export")
    return parser


if __name__ == "__main__":
    main()
