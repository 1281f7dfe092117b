"""Write a distilled student alone: a plain detector, embedder or classifier.

    kdkit export CONFIG CHECKPOINT student.pth
    kdkit export CONFIG CHECKPOINT student.safetensors

With its weights goes the plain student's whole config, student.py. Before the two files appear, it
is checked that the plain model, given them alone, loads the weights strictly and predicts the same
boxes, embeddings or logits as the distilled one: on a few test images, or on random ones where the
data is absent. Of a run with an EMAHook the averaged weights are exported. The teacher
is not needed. The last lines say how the student is used: a command to copy.

Nothing that is there is replaced without --overwrite, and nothing but an earlier export with it.
"""

from __future__ import annotations

import click

from kd_core.packages import quick_imports
from kdkit.cli.command import CONFIG, config_argument, overwrite_option, subcommand


@subcommand(
    __doc__,
    {
        **CONFIG,
        "CHECKPOINT": "Checkpoint of the run: file, URL or its work dir.",
        "OUT": "File to write, .pth or .safetensors.",
    },
)
@config_argument
@click.argument("checkpoint", type=click.Path())
@click.argument("out", type=click.Path())
@overwrite_option("an earlier export")
def command(
    config: str, cfg_options: tuple[str, ...], checkpoint: str, out: str, overwrite: bool
) -> None:
    """Export."""
    with quick_imports():
        from kd_core.checkpoint.atomic import put_in_place, temporary_folder
        from kd_engine.build import read_engine_checkpoint
        from kd_engine.config.load import load_run_config, parse_options
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
        from kd_engine.terminal import short_terminal
        from kd_engine.work_dir.run_checkpoint import checkpoint_file

    with clear_errors(), short_terminal("loading the config and its packages"):
        check_out(out)
        check_export_files(out, (config, checkpoint), overwrite)
        read = load_run_config(config, parse_options(cfg_options))
        file = checkpoint_file(checkpoint, read)
        check_export_files(out, (file, *files_of(read)), overwrite)
        task = task_of(read)
        content = student_checkpoint(read_engine_checkpoint(file), read, task.export_defaults)
        target, target_config = export_files(out)
        usage = task.student_alone(read, str(target_config), str(target))
        text = exported_config(content["meta"]["cfg"], usage)
        wanted = wants_config(target_config, text, overwrite)
        with temporary_folder(target) as folder:
            weights, plain = folder / target.name, folder / target_config.name
            write_student(content, str(weights))
            plain.write_text(text, encoding="utf-8")
            found = task.check_export(read, file, str(weights), str(plain))
            put_in_place(weights, target)
            if wanted:
                put_in_place(plain, target_config)
        count = sum(value.numel() for value in content["state_dict"].values())
        print(f"{target}: {count:,} numbers, {target.stat().st_size / 2**20:.1f} MiB")
        print(f"{target_config}: its config{'' if wanted else ', as it was there already'}")
        print(f"ok: {found}\n{usage}")
