"""A small training run with everything that a checkpoint carries, and with random numbers.

As a program it reads jobs from its input, one JSON list of arguments of `train` a line, runs each
in a forked child, and answers with the child's process id and, when it has ended, its exit code.
"""

import json
import os
import sys
import traceback

import mmengine.runner.runner
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from kd_engine.resume.last_checkpoint import last_whole_checkpoint
from kd_engine.run.seeding import SeedHook
from kd_engine.weights.checkpoint import use_safe_checkpoints

SIDE = 512
mmengine.runner.runner.collect_env = dict  # It starts compilers and imports torchvision.


class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(SIDE, SIDE), nn.BatchNorm1d(SIDE), nn.Dropout(0.2), nn.Linear(SIDE, 1)
        )

    def forward(self, inputs, targets, mode="loss"):
        return {"loss": (self.layers(inputs) - targets).square().mean()}


class Numbers(torch.utils.data.Dataset):
    metainfo = {"classes": ("a", "b"), "palette": [(1, 2, 3)]}

    def __len__(self):
        return 64

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        noise = 0.1 * torch.randn(SIDE)
        return torch.randn(SIDE, generator=generator) + noise, torch.randn(1, generator=generator)


SCHEDULERS = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, end=2),
    dict(type="CosineAnnealingLR", T_max=20, by_epoch=False, begin=2, end=22),
    dict(type="MultiStepLR", milestones=[4], by_epoch=False, end=22),
    dict(type="CosineAnnealingMomentum", T_max=20, eta_min=0.5, by_epoch=False, end=22),
]


def build(work_dir, iterations, resume_from=None):
    torch.manual_seed(0)
    runner = Runner(
        model=Toy(),
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=Numbers(),
            batch_size=4,
            sampler=dict(type="InfiniteSampler", shuffle=True),
            collate_fn=dict(type="default_collate"),
        ),
        train_cfg=dict(by_epoch=False, max_iters=iterations),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.01, momentum=0.9)),
        param_scheduler=SCHEDULERS,
        default_hooks=dict(
            checkpoint=dict(type="CheckpointHook", interval=1, by_epoch=False, max_keep_ckpts=2),
            logger=dict(type="LoggerHook", interval=1),
        ),
        custom_hooks=[dict(type="EMAHook", momentum=0.1)],
        randomness=dict(seed=0),
        load_from=resume_from,
        resume=resume_from is not None,
        experiment_name=f"toy_{os.path.basename(work_dir)}_{iterations}_{resume_from is None}",
        log_level="WARNING",
    )
    runner.register_hook(SeedHook())
    return runner


def train(work_dir, iterations):
    use_safe_checkpoints()
    build(work_dir, iterations, last_whole_checkpoint(work_dir)).train()


def main():
    import torch._dynamo  # noqa: F401  Optimizers import it: once here, not in every child.

    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                train(*json.loads(line))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
