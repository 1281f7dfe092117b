"""A student distilled in a plain PyTorch loop: python examples/plain_loop.py."""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn

import kdkit
from kd_core.losses import AttentionTransferLoss, SoftTargetLoss

digits = load_digits()  # 1,797 handwritten digits of 8 x 8 pixels
images, labels = torch.tensor(digits.images).float()[:, None] / 16, torch.tensor(digits.target)


def network(width):
    """Two convolutions and a classifier; layer "5" gives the map, layer "8" the logits."""
    first = [nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.ReLU()]
    second = [nn.Conv2d(width, width, 3), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(
        *first, *second, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, 10)
    )


def train(model, steps, distiller=None):
    """Train on the first 1,500 digits, and return the share of the others that are right."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for batch in torch.randint(1500, (steps, 64)):
        loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
        if distiller is not None:
            loss = loss + sum(distiller.losses().values())  # the one line to add to a loop
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        right = model.eval()(images[1500:]).argmax(1) == labels[1500:]
    return right.float().mean()


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=300, help="of each training (%(default)s)")
steps = parser.parse_args().steps

torch.manual_seed(0)
teacher = network(64)
print(f"teacher: {train(teacher, steps):.1%} of the unseen digits are right")
torch.manual_seed(1)
print(f"student alone: {train(network(4), steps):.1%}")
torch.manual_seed(1)  # the same first weights and batches
student = network(4)
terms = {
    "attention": (AttentionTransferLoss(loss_weight=100.0), "5"),
    "kd": (SoftTargetLoss(), "8"),
}
distiller = kdkit.distill(student, teacher, terms)
print(f"student with the teacher: {train(student, steps, distiller):.1%}")
distiller.detach()
print(f"what is left is a plain network: {len(student.state_dict())} tensors, no teacher")
