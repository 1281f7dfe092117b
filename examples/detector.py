"""A detector of mmdet distilled in a loop of your own: python examples/detector.py."""

import argparse
import tempfile
from pathlib import Path

import kd_det  # noqa: F401  # isort: skip  before mmdet: it serves mmcv's operators
import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader, RandomSampler

from kd_engine.config.file import read_config
from kdkit.demo.digit_set import make_detection_set

CONFIGS = Path(__file__).parents[1] / "configs/demo"  # small Faster R-CNNs


def digits(folder, dataset, steps):
    """Make images with handwritten digits on them, and return a loader of so many batches."""
    make_detection_set(folder, train_images=60, val_images=1)
    data = DATASETS.build(dict(dataset, data_root=folder))
    drawn = RandomSampler(data, num_samples=4 * steps)
    return DataLoader(data, batch_size=4, sampler=drawn, collate_fn=pseudo_collate)


def train(model, loader, who):
    """Train a detector: it returns mmdet's losses, and those of the terms if it is distilled."""
    model.init_weights()
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-3)
    for step, batch in enumerate(loader, 1):
        losses = model(**model.data_preprocessor(batch, training=True), mode="loss")
        total, logged = model.parse_losses(losses)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        if step in (1, len(loader)):
            print(f"{who}, step {step}:", {name: round(x.item(), 2) for name, x in logged.items()})
    return model


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=60, help="of each training (%(default)s)")
steps = parser.parse_args().steps
torch.manual_seed(0)
MMLogger.get_instance("example", log_level="ERROR")
init_default_scope("mmdet")
teacher, distilled = (read_config(str(CONFIGS / f"{x}.py")) for x in ("teacher", "distilled"))
with tempfile.TemporaryDirectory() as folder:
    loader = digits(f"{folder}/digits", teacher.train_dataloader.dataset, steps)
    model = train(MODELS.build(teacher.model), loader, "teacher")
    torch.save(model.state_dict(), f"{folder}/teacher.pth")
    distilled.model.teacher = dict(config=teacher.model, checkpoint=f"{folder}/teacher.pth")
    student = MODELS.build(distilled.model)  # mmdet's own class, with a distiller attached
    student.distiller.set_run_length(len(loader), len(loader))  # an epoch, and the whole run
    print(student.distiller.shape_table)
    plain = train(student, loader, "student with the teacher").distiller.detach()
print(f"mmdet's own {type(plain).__name__} is left, without the teacher")
