"""kdkit train on a detector, ended by kill -9 and resumed with --resume."""

import json
import random
import signal
import time

import pytest

from kd_core.checkpoint.load import read_checkpoint
from kd_engine.resume.last_checkpoint import last_whole_checkpoint
from kd_engine.weights.checkpoint import ALLOWED

from ..forked import start

EPOCHS, STEPS = 10, 3  # steps of an epoch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is not of this system"),
]


def wait_for(condition, process, log):
    while not condition():
        assert process.is_alive(), log.read_text()
        time.sleep(0.0005)


def epochs(run):
    return sorted(int(path.stem[6:]) for path in run.glob("epoch_*.pth"))


def kill(process):
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def check_all_whole(run):
    for epoch in epochs(run):
        saved = read_checkpoint(run / f"epoch_{epoch}.pth", ALLOWED)
        assert (saved["meta"]["epoch"], saved["meta"]["iter"]) == (epoch, epoch * STEPS)
        assert int(saved["state_dict"]["distiller.iteration"]) == epoch * STEPS
    assert last_whole_checkpoint(run) == str(run / f"epoch_{epochs(run)[-1]}.pth")


def trained_steps(run):
    """Logged steps of each start, in order of the starts."""
    files = sorted(run.glob("*/vis_data/scalars.json"))
    rows = [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
    return [[row["step"] for row in part if "loss" in row] for part in rows]


def test_killed_twice_it_resumes_to_the_end(place, run_tool, tmp_path):
    run, log = tmp_path / "run", tmp_path / "log.txt"
    settings = [f"train_cfg.max_epochs={EPOCHS}", "default_hooks.logger.interval=1"]
    command = ["train", place.distilled, "--work-dir", run, "--resume", "--cfg-options", *settings]

    process = start(command, log)  # killed at any moment after its first checkpoint
    wait_for(lambda: epochs(run), process, log)
    time.sleep(random.Random(0).uniform(0, 0.2))
    kill(process)
    check_all_whole(run)
    first = epochs(run)[-1]

    process = start(command, log)  # killed while it writes the checkpoint after its first
    wait_for(lambda: epochs(run)[-1] > first, process, log)
    wait_for(lambda: list(run.glob(".epoch_*.tmp")), process, log)
    kill(process)
    check_all_whole(run)
    second = epochs(run)[-1]
    assert first < second < EPOCHS

    code, _, error = run_tool(*command)
    assert code == 0, error
    check_all_whole(run)
    assert epochs(run)[-1] == EPOCHS
    starts = trained_steps(run)
    assert [steps[0] for steps in starts] == [1, first * STEPS + 1, second * STEPS + 1]
    assert starts[-1][-1] == EPOCHS * STEPS
