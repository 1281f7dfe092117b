"""CRD: the teacher's embedding of an image picks out the student's among those of others."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd_core.checks import (
    check_indices,
    check_positive,
    check_same_batch,
    without_autocast,
)
from kd_core.losses.base import DistillationLoss
from kd_core.ranks import require_one_process
from kd_core.relations.samples import flat_rows

_UNKNOWN = -1  # label of a sample that has not been in any batch yet


class CRDLoss(DistillationLoss):
    """Contrast of each image's two embeddings with remembered ones of other classes.

        s, t  = linear layers of student and teacher to ``dim`` numbers, scaled to length 1
        B_s, B_t = banks: the running mean of s and t of every training image, length 1
        h(v, b)  = exp(<v, b> / temperature) / Z,  noise = negatives / samples
        part(v, B) = mean over N of -log(h(v, B[i]) / (h(v, B[i]) + noise))
                     - sum over k of log(noise / (h(v, B[k]) + noise))
        loss = loss_weight * (part(s, B_t) + part(t, B_s))

    i is the image itself, k are ``negatives`` images drawn from other classes with replacement,
    and Z is ``samples`` times the mean of exp(...) in the first batch. Tian, Krishnan and Isola,
    "Contrastive Representation Distillation", ICLR 2020, https://arxiv.org/abs/1910.10699. Status:
    the authors' code (RepDistiller), with its memory bank; its usual weight is 0.8. Where we
    differ: their dataset draws the negatives and knows all labels, this loss learns an image's
    label from its first batch (its bank entry is random until then); and it compares with
    the whole bank before it picks, which takes N * samples numbers and not N * negatives * dim.

    Linear layers and banks are saved under ``distiller.`` (2 * samples * dim numbers, 51 MB for
    CIFAR); the layers are trained with the student. ``prepare`` makes them, and the distiller
    calls it in its dry run. The banks are of one process: in a distributed run the loss refuses.

    Args:
        samples: Number of training images; ids go from 0 to samples - 1.
        negatives: How many other images each one is compared with.
        dim: Size of the compared embeddings.
        temperature: Divisor of the cosines, above 0.
        momentum: Share of the old entry when a bank takes a new one, in [0, 1).
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite, or ``samples`` is below 2,
            ``negatives`` or ``dim`` is below 1, or ``temperature`` or ``momentum`` is out of range.

    Example:
        >>> import torch
        >>> loss, student, teacher = CRDLoss(samples=50), torch.randn(4, 8), torch.randn(4, 16)
        >>> loss.prepare(student, teacher)
        >>> loss(student, teacher, torch.tensor([0, 0, 1, 2]), torch.tensor([7, 3, 0, 49])).shape
        torch.Size([])
    """

    requires = ("labels", "ids")
    accepts_lists = True
    student_bank: Tensor
    teacher_bank: Tensor
    labels: Tensor
    log_z: Tensor

    def __init__(
        self,
        samples: int,
        negatives: int = 16384,
        dim: int = 128,
        temperature: float = 0.07,
        momentum: float = 0.5,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        if samples < 2 or negatives < 1 or dim < 1:
            raise ValueError(
                "samples must be at least 2, negatives and dim at least 1, but they are "
                f"{samples}, {negatives} and {dim}."
            )
        check_positive(temperature=temperature)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, but it is {momentum}.")
        self.samples = samples
        self.negatives = negatives
        self.dim = dim
        self.temperature = temperature
        self.momentum = momentum
        self.embed = nn.ModuleDict()

    def prepare(self, student: Tensor, teacher: Tensor) -> None:
        """Make linear layers and banks for embeddings of these sizes; those that fit stay.

        Args:
            student: Embeddings (N, D_s), or feature maps (N, C_s, H_s, W_s), which are flattened.
            teacher: Embeddings (N, D_t), or feature maps (N, C_t, H_t, W_t).

        Raises:
            ValueError: If several levels are given, or if N differs.
        """
        sizes = _sizes(student, teacher)
        if sizes == self._made_for():
            return
        device = student.device
        layers = {side: nn.Linear(size, self.dim) for side, size in sizes.items()}
        self.embed = nn.ModuleDict(layers).to(device)
        bound = math.sqrt(3 / self.dim)  # the authors': about length 1
        for side in sizes:
            bank = torch.empty(self.samples, self.dim).uniform_(-bound, bound)
            self.register_buffer(f"{side}_bank", bank.to(device))
        unknown = torch.full((self.samples,), _UNKNOWN, device=device)
        self.register_buffer("labels", unknown)
        self.register_buffer("log_z", torch.full((2,), math.nan, device=device))

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
        """Contrast the embeddings of a batch, and in training remember them.

        Args:
            student: Embeddings (N, D_s), or feature maps (N, C_s, H_s, W_s).
            teacher: Embeddings (N, D_t), or feature maps (N, C_t, H_t, W_t); no gradient flows
                into them.
            labels: Class of each image, integers (N,).
            ids: What numbers each image in the training set, integers (N,).

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If several levels are given, if N differs, if the embeddings are not of
                the sizes that the loss was prepared for, if labels or ids do not fit, or in a
                distributed run.
        """
        self._check(student, teacher)
        check_indices("labels", labels, len(student))
        check_indices("ids", ids, len(student), self.samples)
        if self.training:
            self.labels[ids] = labels.to(self.labels.dtype)
        vectors = self._embedded("student", student), self._embedded("teacher", teacher.detach())
        columns = torch.cat((ids[:, None], self._draw(labels)), dim=1)  # (N, 1 + negatives)
        parts = (
            self._contrast(0, vectors[0], self.teacher_bank, columns),
            self._contrast(1, vectors[1], self.student_bank, columns),
        )
        if self.training:
            self._remember(*vectors, ids)
        return self.loss_weight * (parts[0] + parts[1])

    def _check(self, student: Tensor, teacher: Tensor) -> None:
        sizes, ready = _sizes(student, teacher), self._made_for()
        if sizes != ready:
            raise ValueError(
                f"the loss has layers for embeddings of {ready or 'no sizes yet'}, but they have "
                f"{sizes}. Give Distiller.attach an example, or call prepare() with such "
                "embeddings before the optimizer is made."
            )
        require_one_process("CRDLoss", "loss")

    def _made_for(self) -> dict[str, int]:
        layers = self.embed.items()
        return {name: layer.in_features for name, layer in layers if isinstance(layer, nn.Linear)}

    def _embedded(self, side: str, features: Tensor) -> Tensor:
        layer = self.embed[side]
        assert isinstance(layer, nn.Linear)
        with without_autocast(features):
            rows = layer(features.flatten(start_dim=1).to(layer.weight.dtype))  # (N, dim)
            return F.normalize(rows.float(), dim=1)

    @torch.no_grad()
    def _draw(self, labels: Tensor) -> Tensor:
        """Draw images (N, negatives) that are not known to be of the same class."""
        order = self.labels.argsort()
        classes = self.labels[order]
        first = torch.searchsorted(classes, labels)[:, None]
        same = torch.searchsorted(classes, labels, right=True)[:, None] - first
        others = (self.samples - same).clamp(min=1)
        drawn = torch.rand(len(labels), self.negatives, device=labels.device)
        places = (drawn * others).long().minimum(others - 1)  # the product may round up
        return order[(places + same * (places >= first)) % self.samples]

    def _contrast(self, part: int, vectors: Tensor, bank: Tensor, columns: Tensor) -> Tensor:
        with without_autocast(vectors):
            cosines = vectors @ bank.clone().float().t()  # a copy: the bank changes after this
        scores = cosines.gather(1, columns) / self.temperature
        log_z = self.log_z[part]
        if log_z.isnan():
            mean = scores.detach().flatten().logsumexp(dim=0) - math.log(scores.numel())
            log_z = mean + math.log(self.samples)
            if self.training:
                self.log_z[part] = log_z
        margin = scores - log_z - math.log(self.negatives / self.samples)  # log of h / noise
        signs = torch.ones_like(margin)
        signs[:, 0] = -1
        return F.softplus(signs * margin).sum() / len(vectors)

    @torch.no_grad()
    def _remember(self, student: Tensor, teacher: Tensor, ids: Tensor) -> None:
        for bank, vectors in ((self.student_bank, student), (self.teacher_bank, teacher)):
            mixed = self.momentum * bank[ids].float() + (1 - self.momentum) * vectors
            bank[ids] = F.normalize(mixed, dim=1).to(bank.dtype)


def _sizes(student: Tensor, teacher: Tensor) -> dict[str, int]:
    for name, value in (("student", student), ("teacher", teacher)):
        if not isinstance(value, Tensor):
            raise ValueError(
                f"{name} must be one batch of embeddings, but there are {len(value)} levels. "
                "Select one layer, such as the pooled features."
            )
    check_same_batch(student, teacher)
    return {"student": flat_rows(student).shape[1], "teacher": flat_rows(teacher).shape[1]}
