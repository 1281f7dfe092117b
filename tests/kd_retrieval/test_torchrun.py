"""Two processes on gloo, through kdkit train, on an odd number of images to search."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from PIL import Image

import kd_retrieval  # noqa: F401
from kd_engine.evaluate import evaluate_model

from ..forked import train_on_ranks

ROOT = Path(__file__).parents[2]
SEARCHED = 21

CONFIG = """
_base_ = {base!r}
custom_imports = dict(imports=["kd_retrieval", "of_each_rank"])
model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student={{{{_base_.model}}}},
    teacher=dict(config="kdkit::retrieval/teacher+digits", checkpoint=None),
    terms=dict(
        distance=dict(loss=dict(type="kd_core.losses.RelationalDistanceLoss"), layers="embedding"),
        late=dict(  # its connector gets no gradient in the first epoch
            loss=dict(type="kd_core.losses.EmbeddingCosineLoss"),
            layers="embedding",
            schedule=dict(type="kd_core.schedules.LinearWarmup", begin=5, end=6),
        ),
    ),
)
train_dataloader = dict(batch_size=12, batch_sampler=dict(samples_per_class=4, num_batches=4))
data = dict(type="kd_retrieval.LabeledFolder", data_root={data!r}, split="test", test_classes=3)
test_dataloader = dict(batch_size=4, dataset=dict(_delete_=True, **data))
val_dataloader = test_dataloader
test_evaluator = dict(map_at_r=True)
val_evaluator = test_evaluator
train_cfg = dict(max_epochs=2, val_interval=1)
custom_hooks = [dict(type="OfEachRank")]
"""

HOOK = """
import json
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class OfEachRank(Hook):
    batches = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.batches.append(data_batch["ids"].tolist())

    def after_train(self, runner):
        name = f"{runner.work_dir}/rank{get_rank()}"
        torch.save(runner.model.module.state_dict(), name + ".pth")
        with open(name + ".json", "w") as file:
            json.dump(self.batches, file)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Train in two processes; returns the work dir and the config."""
    folder = tmp_path_factory.mktemp("two")
    rng = np.random.default_rng(0)
    for row in range(2 + SEARCHED):
        path = folder / f"data/{'0' if row < 2 else 'abc'[row % 3]}/{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    (folder / "of_each_rank.py").write_text(HOOK)
    config = folder / "two.py"
    base = str(ROOT / "configs/retrieval/data/digits.py")
    config.write_text(CONFIG.format(base=base, data=str(folder / "data")))
    work_dir, log = folder / "run", folder / "log.txt"
    codes = train_on_ranks(["train", config, "--work-dir", work_dir], log, path=[folder])
    assert codes == [0, 0], log.read_text()[-3000:]
    sys.path.insert(0, str(folder))
    yield work_dir, Config.fromfile(config)
    sys.path.remove(str(folder))


@pytest.mark.slow
def test_both_processes_hold_one_model(run):
    first, second = (torch.load(run[0] / f"rank{rank}.pth") for rank in (0, 1))
    assert first.keys() == second.keys() and first["distiller.iteration"] == 8
    assert any(key.endswith("running_mean") for key in first)
    assert all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.slow
def test_the_batches_of_an_epoch_are_shared_out(run):
    found = [json.loads((run[0] / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    loader = dict(run[1].train_dataloader, persistent_workers=False)
    loader["batch_sampler"] = dict(loader["batch_sampler"], num_batches=8)
    alone = Runner.build_dataloader(loader, seed=0)
    ids = DATASETS.build(loader["dataset"]).ids
    for epoch in (0, 1):
        alone.batch_sampler.sampler.set_epoch(epoch)
        expected = [ids[batch].tolist() for batch in alone.batch_sampler]
        mine = [found[number % 2][4 * epoch + number // 2] for number in range(8)]
        assert mine == expected


@pytest.mark.slow
def test_recall_is_that_of_one_process(run, tmp_path):
    """21 images fill two processes with one copy, which would be found for certain."""
    (scalars,) = run[0].glob("*/vis_data/scalars.json")
    rows = [json.loads(line) for line in scalars.read_text().splitlines()]
    last = [row for row in rows if "recall/R@1" in row][-1]
    config = run[1].copy()
    config.work_dir = str(tmp_path)
    alone = evaluate_model(config, str(run[0] / "epoch_2.pth"))
    assert alone["recall/queries"] == SEARCHED and 0 < alone["recall/R@1"] < 100
    assert {key: last[key] for key in alone} == pytest.approx(alone, abs=1e-9)
