"""A small epoch-based run whose data and model draw random numbers in every way that there is."""

import random
from pathlib import Path

import mmengine.runner.runner
import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from torch import nn

mmengine.runner.runner.collect_env = dict  # It starts compilers and imports torchvision.

IMAGES, BATCH, BATCHES = 12, 4, 3


@MODELS.register_module(force=True)
class ResumedNet(BaseModel):
    def __init__(self, width=5, beside=None):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, width), nn.Dropout(0.5), nn.Linear(width, 1))
        if beside:
            self.distiller = nn.Linear(beside, beside)

    def forward(self, inputs, mode="loss"):
        found = self.layers(inputs / 10)
        if mode == "predict":
            return [found]
        noise = torch.rand(1) + random.random() + np.random.rand()
        return {"loss": (found - noise).square().mean()}


@DATASETS.register_module(force=True)
class AugmentedNumbers(torch.utils.data.Dataset):
    """Random numbers of Python, NumPy and torch."""

    def __init__(self, size=IMAGES, classes=("a", "b")):
        self.size = size
        self.metainfo = {"classes": classes}

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        augmented = (index + random.random(), index + np.random.rand(), index + torch.rand(()))
        return {"inputs": torch.tensor([float(value) for value in augmented])}


@METRICS.register_module(force=True)
class Mean(BaseMetric):
    default_prefix = "toy"

    def process(self, data_batch, data_samples):
        self.results += [float(sample.mean()) for sample in data_samples]

    def compute_metrics(self, results):
        return {"mean": sum(results) / len(results)}


def config_of(work_dir, epochs=4, workers=0, persistent=False, **settings):
    """Return the config; `settings` are dotted names, with __ for the dots, and values."""
    data = dict(
        dataset=dict(type="AugmentedNumbers"),
        batch_size=BATCH,
        num_workers=workers,
        persistent_workers=persistent,
        collate_fn=dict(type="default_collate"),
    )
    config = Config(
        dict(
            model=dict(type="ResumedNet"),
            work_dir=str(work_dir),
            train_dataloader=dict(**data, sampler=dict(type="DefaultSampler", shuffle=True)),
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            val_dataloader=dict(**data, sampler=dict(type="DefaultSampler", shuffle=False)),
            val_cfg=dict(),
            val_evaluator=dict(type="Mean"),
            optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.01, momentum=0.9)),
            param_scheduler=[
                dict(type="LinearLR", start_factor=0.1, by_epoch=False, end=4),
                dict(type="MultiStepLR", milestones=[2, 3], gamma=0.5),
            ],
            default_hooks=dict(
                checkpoint=dict(type="CheckpointHook", interval=1),
                logger=dict(type="LoggerHook", interval=1),
            ),
            randomness=dict(seed=3),
            log_level="ERROR",
            experiment_name=f"{Path(work_dir).name}_{random.random()}",
        )
    )
    config.merge_from_dict({key.replace("__", "."): value for key, value in settings.items()})
    return config
