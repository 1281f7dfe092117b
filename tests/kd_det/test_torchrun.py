"""Two processes on gloo, through kdkit train and the built-in digits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS

from kdkit.demo.digit_set import make_detection_set

ROOT = Path(__file__).parents[2]

CONFIG = """
_base_ = {base!r}
custom_imports = dict(imports=["kd_det", "rank_weights"])
data_root = {data!r}
student = _base_.model
model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student=student,
    teacher=dict(config="kdkit::demo/teacher.py", checkpoint=None),
    terms=dict(
        hmat=dict(
            loss=dict(type="kd_core.losses.HMATLoss"),
            layers=dict(low="neck[0]", mid="neck[1:3]", high="neck[3]"),
        ),
        late=dict(  # its connectors get no gradient before iteration 2
            loss=dict(type="kd_core.losses.FeatureImitationLoss"),
            layers="backbone[2]",
            schedule=dict(type="kd_core.schedules.LinearWarmup", begin=1, end=3),
        ),
    ),
    dry_run_size=(64, 64),
)
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False,
                        dataset=dict(data_root=data_root))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = [dict(type="CocoMetric", ann_file=data_root + "annotations/instances_val.json",
                      metric="bbox")]
test_evaluator = val_evaluator
train_cfg = dict(_delete_=True, type="IterBasedTrainLoop", max_iters=4, val_interval=4)
param_scheduler = []
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=4),
    logger=dict(type="LoggerHook", interval=1),
)
log_processor = dict(by_epoch=False)
custom_hooks = [dict(type="RankWeights")]
env_cfg = dict(dist_cfg=dict(backend="gloo"))
"""

HOOK = """
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class RankWeights(Hook):
    def after_train(self, runner):
        torch.save(runner.model.module.state_dict(), f"{runner.work_dir}/rank{get_rank()}.pth")
"""


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path):
    make_detection_set(tmp_path / "digits", train_images=16, val_images=2)
    (tmp_path / "rank_weights.py").write_text(HOOK)
    config = tmp_path / "two.py"
    base = str(ROOT / "configs/demo/_base_/digits.py")
    config.write_text(CONFIG.format(base=base, data=str(tmp_path / "digits") + "/"))
    work_dir = tmp_path / "run"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}",
                   "OMP_NUM_THREADS": "1", "KD_TRACEBACK": "1"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2",
         "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "tools/train.py", str(config),
         "--work-dir", str(work_dir), "--launcher", "pytorch"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(work_dir / f"rank{rank}.pth") for rank in (0, 1))
    learned = [key for key in first if not key.endswith(("running_mean", "running_var"))]
    assert all(torch.equal(first[key], second[key]) for key in learned)
    assert any(key.startswith("distiller.connectors.late") for key in learned)
    _check_checkpoint_and_log(work_dir, base)


def _check_checkpoint_and_log(work_dir, base):
    state = torch.load(work_dir / "iter_4.pth", weights_only=False)["state_dict"]
    assert state["distiller.iteration"] == 4
    from mmengine.config import Config

    model = MODELS.build(Config.fromfile(base).model)
    own = {key: value for key, value in state.items() if not key.startswith("distiller.")}
    model.load_state_dict(own, strict=True)
    (scalars,) = work_dir.glob("*/vis_data/scalars.json")
    steps = [json.loads(line) for line in scalars.read_text().splitlines()]
    assert [step for step in steps if step.get("iter") == 4 and "loss_hmat_channel" in step]
