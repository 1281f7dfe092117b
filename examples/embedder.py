"""An embedder distilled: python examples/embedder.py. Six classes: recall varies with the seed."""

import argparse

import torch
from mmengine.dataset import DefaultSampler
from torch.utils.data import DataLoader

import kdkit
from kd_core.losses import RelationalAngleLoss, RelationalDistanceLoss
from kd_retrieval import BuiltInDigits, Embedder, TimmTrunk, collate, recall_at_k
from kd_retrieval.sampler import MPerClassBatchSampler


def embedder(channels, dim):
    """Return a ResNet-18 of the given widths with an embedding (N, dim) and a metric loss."""
    trunk = TimmTrunk("resnet18", options=dict(channels=channels))  # or a module of your own
    loss = dict(type="ContrastiveLoss", pos_margin=0.2, neg_margin=1.0)
    return Embedder(trunk, dim=dim, criterion=dict(loss=loss))


def train(model, steps):
    """Train on the digits 0 to 5, and return recall@1 on 6 to 9, which nobody trained on."""
    affine = dict(type="RandomAffine", degrees=10, translate=(0.1, 0.1), scale=(0.85, 1.15))
    data = BuiltInDigits("trainval", transforms=[affine])
    batches = MPerClassBatchSampler(DefaultSampler(data, seed=0), 48, 8, steps)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for batch in DataLoader(data, batch_sampler=batches, collate_fn=collate):
        losses = model.train()(**model.data_preprocessor(batch), mode="loss")
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        schedule.step()
    found, labels = [], []
    for batch in DataLoader(BuiltInDigits("test"), batch_size=128, collate_fn=collate):
        with torch.no_grad():
            found.append(model.eval()(model.data_preprocessor(batch)["inputs"]))
        labels.append(batch["labels"])
    return recall_at_k(torch.cat(found), torch.cat(labels), ks=(1,)).recall[1]


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=120, help="of each training (%(default)s)")
steps = parser.parse_args().steps

torch.manual_seed(0)
teacher = embedder((32, 64, 128, 256), dim=None)
print(f"teacher: recall@1 {train(teacher, steps):.1%}")
torch.manual_seed(1)
print(f"student alone: {train(embedder((8, 16, 32, 48), dim=32), steps):.1%}")
torch.manual_seed(1)  # the same first weights
student = embedder((8, 16, 32, 48), dim=32)
distance, angle = RelationalDistanceLoss(loss_weight=40.0), RelationalAngleLoss(loss_weight=80.0)
terms = {"distance": (distance, "embedding"), "angle": (angle, "embedding")}
kdkit.distill(student, teacher, terms)  # the student returns their losses with its own
print(f"student with the teacher: {train(student, steps):.1%}")
