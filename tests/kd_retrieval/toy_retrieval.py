"""A small dataset of drawn images, a config for it, and checkpoints; for several tests."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from PIL import Image
from torch import nn
from torchvision.transforms import v2

from kd_engine.evaluate import build_model

NAMES = ("ant", "bee <b>", "cat & dog", "duck", "emu")
EACH = 8

CONFIG = """
default_scope = "mmengine"
custom_imports = dict(imports=["kd_retrieval"])
trunk = dict(type="kd_retrieval.trunks.TimmTrunk", name="resnet18",
             options=dict(channels=(4, 4, 8, 8)))
student = dict(type="kd_retrieval.embedder.Embedder", trunk=trunk, dim=6,
               criterion=dict(loss=dict(type="TripletMarginLoss")))
wide = dict(type="kd_retrieval.trunks.TimmTrunk", name="resnet18",
            options=dict(channels=(4, 8, 8, 12)))
teacher = dict(type="kd_retrieval.embedder.Embedder", trunk=wide, dim=10)
model = dict(
    type="kd_retrieval.distilled.DistilledEmbedder",
    student=student,
    teacher=dict(config=teacher, checkpoint={teacher!r}),
    terms=dict(
        distances=dict(
            loss=dict(type="kd_core.losses.RelationalDistanceLoss"), layers="embedding"),
        maps=dict(
            loss=dict(type="kd_core.losses.FeatureImitationLoss"),
            layers="trunk.layer4", teacher_layers="trunk.layer4"),
    ),
    dry_run_size=(32, 32),
)
data = dict(type="ToyImages", data_root={root!r})
resize = [dict(type="Resize", size=[32, 32])]
train_dataloader = dict(dataset=dict(
    **data, split="train", transforms=[dict(type="RandomHorizontalFlip"), *resize]))
val_dataloader = dict(dataset=dict(**data, split="test", transforms=resize))
test_dataloader = val_dataloader
"""


@DATASETS.register_module(force=True)
class ToyImages(torch.utils.data.Dataset):
    """Images in a folder for each class; the last three classes are for testing."""

    def __init__(self, data_root, split, transforms=()):
        self.root, self.transforms = Path(data_root), list(transforms)
        files = sorted(self.root.glob("*/*.png"))
        kept = [file for file in files if (int(file.parent.name) >= 2) == (split == "test")]
        self.records = [
            SimpleNamespace(
                path=str(file.relative_to(self.root)),
                label=int(file.parent.name),
                id=100 * int(file.parent.name) + int(file.stem),
                role=0,
            )
            for file in kept
        ]
        self.class_names = NAMES
        for name in ("label", "id", "role"):
            values = np.array([getattr(one, name) for one in self.records], np.int64)
            setattr(self, f"{name}s", values)
        self.steps = [
            getattr(v2, one["type"])(**{k: v for k, v in one.items() if k != "type"})
            for one in self.transforms
        ]

    def __len__(self):
        return len(self.records)

    def __getitem__(self, i):
        record = self.records[i]
        picture = np.array(Image.open(self.root / record.path).convert("RGB"))
        image = torch.from_numpy(picture).permute(2, 0, 1)
        for step in self.steps:
            image = step(image)
        return dict(inputs=image, labels=record.label, ids=record.id, roles=record.role)

    def fingerprint(self):
        sizes = [(self.root / one.path).stat().st_size for one in self.records]
        return hashlib.sha256(repr((self.records, sizes)).encode()).hexdigest()

    def transform_key(self):
        return json.dumps(self.transforms, sort_keys=True)


def draw(root):
    """Draw the images: each class has a stripe of its own color and place, under noise."""
    rng = np.random.default_rng(0)
    for label in range(len(NAMES)):
        (root / str(label)).mkdir(parents=True)
        for number in range(EACH):
            picture = rng.integers(0, 90, (48, 40, 3))
            picture[6 * label : 6 * label + 12, :, label % 3] += 120
            Image.fromarray(picture.astype(np.uint8)).save(root / f"{label}/{number}.png")


def make(folder):
    """Write data, config and checkpoints of student and teacher.

    Returns:
        Their paths: ``root``, ``config``, ``student``, ``teacher``.
    """
    place = SimpleNamespace(root=folder / "images", config=folder / "toy.py")
    draw(place.root)
    place.student, place.teacher = folder / "student.pth", folder / "teacher.pth"
    text = CONFIG.format(root=str(place.root), teacher=str(place.teacher))
    place.config.write_text(text, encoding="utf-8")
    config = Config.fromfile(place.config)
    torch.manual_seed(0)
    for model, path in ((config.student, place.student), (config.teacher, place.teacher)):
        save(settled(build_model(config, model), config), path)
    return place


def settled(model, config):
    """Give batch norms the statistics of the data, so that embeddings differ."""
    data = DATASETS.build(config.test_dataloader.dataset)
    images = torch.stack([data[i]["inputs"] for i in range(len(data))])
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            nn.init.ones_(module.weight)
    with torch.no_grad():
        model.train()(model.data_preprocessor({"inputs": images}, False)["inputs"])
    return model


def save(model, path):
    """Save weights as a run does, with something beside them that no student has."""
    weights = {**model.state_dict(), "distiller.iteration": torch.zeros((), dtype=torch.long)}
    torch.save(dict(state_dict=weights, meta=dict(epoch=1, iter=3)), path)
