"""PS-KD: a network learns from its own predictions of the epoch before."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd_core.checks import check_indices, check_weights
from kd_core.methods.adapter import NetworkBuilder, TaskAdapter
from kd_core.methods.base import Batch
from kd_core.methods.epochs import EpochsDistiller
from kd_core.ranks import require_one_process


class PSKD(EpochsDistiller):
    """The labels are mixed with what the network predicted for each image an epoch ago.

        loss = mean over N of sum over classes of -q log softmax(z)
        q    = (1 - a) * onehot(label) + a * past,  a = alpha * (epoch + 1) / epochs

    ``past`` is the softmax of the image's logits in its last training forward, augmented and in
    training mode; where there is none yet (the first epoch), the label. The losses are
    ``loss_ce``, (1 - a) times the student's own, and ``loss_past``.

    The table of predictions takes samples * classes numbers of 4 bytes (ImageNet: 5 GB) beside the
    student and in checkpoints, under ``distiller.past``, so that a resumed run equals the unbroken
    one; it is never exported. An image that comes twice in an epoch meets its prediction of this
    epoch. It is of one process: in a distributed run the method refuses.

    Kim, Ji, Yoon and Hwang, "Self-Knowledge Distillation with Progressive Refinement of Targets",
    ICCV 2021. Status: the authors' code, which keeps a second table in its first release and does
    not save it.

    Args:
        samples: Number of training images; ids go from 0 to samples - 1.
        alpha: Share of past predictions at the end, from 0 to 1.
        adapter: The task; the default is that of plain classifiers.

    Raises:
        ValueError: If ``samples`` is below 1 or ``alpha`` is out of range.
    """

    needs_example = True
    past: Tensor

    def __init__(
        self, samples: int, alpha: float = 0.8, adapter: TaskAdapter | None = None
    ) -> None:
        super().__init__([], adapter=adapter)
        check_weights(alpha=alpha)
        if samples < 1 or alpha > 1:
            raise ValueError(
                f"samples must be at least 1 and alpha must be from 0 to 1, but they are {samples} "
                f"and {alpha}."
            )
        self.samples, self.alpha = samples, alpha

    @classmethod
    def from_config(cls, build: NetworkBuilder, samples: int, alpha: float = 0.8) -> nn.Module:
        """Build a student that remembers its predictions.

        Args:
            build: Builds networks.
            samples: Number of training images; ids go from 0 to samples - 1.
            alpha: Share of past predictions at the end, from 0 to 1.

        Returns:
            The student, with the method as its child ``distiller``.

        Raises:
            ValueError: If ``samples`` is below 1 or ``alpha`` is out of range.
        """
        return cls(samples, alpha, build.adapter).attach(build.student())

    def prepare(self, images: Tensor, output: Tensor, features: list[Tensor]) -> None:
        """Make the table, of zeros."""
        table = torch.zeros(self.samples, output.shape[1], device=output.device)
        self.register_buffer("past", table)

    def check_gradients(self, features: list[Tensor]) -> None:
        """Require nothing of layers: only the output is compared."""

    def compare(self, batch: Batch) -> dict[str, Tensor]:
        """Compare with labels and past predictions, and remember the present ones.

        Raises:
            ValueError: If there are no ids, one does not fit, or in a distributed run.
        """
        if batch.ids is None:
            raise ValueError(
                "PSKD needs the ids of images besides their labels. Let the student's forward take "
                "an argument ids, or give them to losses(labels=labels, ids=ids)."
            )
        check_indices("ids", batch.ids, len(batch.output), self.samples)
        require_one_process("PSKD", "method")
        past = self.past[batch.ids]
        logits = batch.output.float()
        self.past[batch.ids] = logits.detach().softmax(1)
        epochs = self.epochs()
        share = self.alpha * min(self.epoch(batch.iteration) + 1, epochs) / epochs
        known = past.sum(1, keepdim=True) > 0
        target = torch.where(known, past, F.one_hot(batch.labels, past.shape[1]).to(past.dtype))
        name = self.adapter.loss
        return {
            name: (1 - share) * batch.task[name],
            "loss_past": share * F.cross_entropy(logits, target),
        }
