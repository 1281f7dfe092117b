"""ONE: branches of one network and a gate make their own teacher while they train."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kd_core.checks import check_weights
from kd_core.connectors import VectorNorm
from kd_core.layers import LayerPath
from kd_core.losses.soft_target import SoftTargetLoss
from kd_core.methods.adapter import NetworkBuilder, TaskAdapter
from kd_core.methods.base import Batch
from kd_core.methods.epochs import EpochsDistiller


class ONE(EpochsDistiller):
    """Branches from a shared layer on learn from labels and from their gated ensemble.

        loss = CE(z_1) + ... + CE(z_B) + CE(z_e) + r * sum over i of KL_t(sg z_e || z_i)
        z_e  = sum over i of gate_i * z_i
        gate = softmax(relu(batch norm(linear(GAP of the shared map))))

    z_1 are the student's logits, and CE(z_1) its own loss; the other branches repeat its layers
    after the shared one, with weights of their own. The gate learns from CE(z_e) alone. The ramp r
    is exp(-5 (1 - epoch / ramp)^2), 1 from that epoch on. Branches and gate are saved under
    ``distiller.``; the exported student is its own branch alone.

    Lan, Zhu and Gong, "Knowledge Distillation by On-the-Fly Native Ensemble", NeurIPS 2018,
    https://arxiv.org/abs/1806.04606. Status: the authors' code, without the 1e-7 that it adds to
    the ensemble's probabilities.

    Args:
        branches: Modules that turn the shared map into logits (N, classes): all branches but the
            student's own.
        shared: Selector of the student's shared map (N, C, H, W).
        loss: Temperature t and factor of the divergences.
        ramp: Epochs in which r rises; 0 for none.
        adapter: The task; the default is that of plain classifiers.

    Raises:
        ValueError: If there is no branch, or ``ramp`` is out of range.
    """

    needs_example = True
    gate: nn.Sequential

    def __init__(
        self,
        branches: Sequence[nn.Module],
        shared: str,
        loss: SoftTargetLoss | None = None,
        ramp: float = 80.0,
        adapter: TaskAdapter | None = None,
    ) -> None:
        super().__init__([shared], adapter=adapter)
        check_weights(ramp=ramp)
        if not branches:
            raise ValueError("there must be a branch besides the student's own, but there is none.")
        self.branches = nn.ModuleList(branches)
        self.loss = loss or SoftTargetLoss(3.0)
        self.ramp_epochs = ramp

    @classmethod
    def from_config(
        cls,
        build: NetworkBuilder,
        shared: str,
        branch: Sequence[str],
        branches: int = 3,
        ramp: float = 80.0,
        temperature: float = 3.0,
        loss_weight: float = 1.0,
    ) -> nn.Module:
        """Build a student, and branches like its own.

        Args:
            build: Builds networks.
            shared: Selector of the map from which the branches start, such as ``network.stage2``.
            branch: The student's modules from there to the logits, in order, such as
                ``["network.stage3", "network.pool", "network.classifier"]``.
            branches: Their number, the student's own included; at least 2.
            ramp: Epochs in which the weight of the ensemble rises; 0 for none.
            temperature: Divisor of logits, above 0.
            loss_weight: Weight of the divergences.

        Returns:
            The student, with the method as its child ``distiller``.

        Raises:
            ValueError: If an option is wrong, or the modules of a branch do not fit.
        """
        if branches < 2:
            raise ValueError(f"branches must be at least 2, but it is {branches}.")
        student = build.student()
        built = build.peers([build.config] * (branches - 1)).values()
        try:
            made = [nn.Sequential(*(one.get_submodule(path) for path in branch)) for one in built]
        except AttributeError as error:
            raise ValueError(f"branch names modules of the student, but {error}.") from error
        loss = SoftTargetLoss(temperature, loss_weight)
        return cls(made, shared, loss, ramp, build.adapter).attach(student)

    def networks(self) -> list[tuple[str, nn.Module, bool]]:
        """Return nothing: branches take no images."""
        return []

    def prepare(self, images: Tensor, output: Tensor, features: list[Tensor]) -> None:
        """Make the gate, and require branches that fit.

        Raises:
            ValueError: If the shared layer gives no map, or a branch gives other logits.
        """
        (shared,) = features
        if shared.dim() != 4:
            raise ValueError(
                "the shared layer must give a map (N, C, H, W), but "
                f"{self._shared.text!r} gives {tuple(shared.shape)}."
            )
        count = 1 + len(self.branches)
        self.gate = nn.Sequential(nn.Linear(shared.shape[1], count), VectorNorm(count), nn.ReLU())
        self.gate.to(shared.device)
        self.branches.eval()
        try:
            shapes = [tuple(branch(shared).shape) for branch in self.branches]
        except RuntimeError as error:  # torch has its own for sizes
            raise ValueError(
                f"a branch does not take the map of {self._shared.text!r}: {error}. Name the "
                "student's modules from there to the logits, in order."
            ) from error
        finally:
            self.branches.train()
        if wrong := sorted(set(shapes) - {tuple(output.shape)}):
            raise ValueError(
                f"a branch must give logits {tuple(output.shape)} as the student does, but it "
                f"gives {wrong[0]}."
            )

    def compare(self, batch: Batch) -> dict[str, Tensor]:
        """Train branches and gate, and compare each with the ensemble."""
        (shared,) = batch.features
        logits = [batch.output, *(branch(shared) for branch in self.branches)]
        gate = self.gate(shared.mean((2, 3))).float().softmax(1)  # (N, B)
        stacked = torch.stack([one.float() for one in logits], dim=1)  # (N, B, classes)
        ensemble = (gate[:, :, None] * stacked).sum(1)  # (N, classes)
        (student,) = self._student
        losses = {
            f"loss_branch{number}_ce": self.adapter.own_loss(student, one, batch.labels)
            for number, one in enumerate(logits[1:], start=1)
        }
        losses["loss_ensemble_ce"] = self.adapter.own_loss(student, ensemble, batch.labels)
        factor = self.ramp(batch.iteration, self.ramp_epochs) if self.loss.loss_weight else 0.0
        if factor:
            parts = [self.loss(one, ensemble) for one in logits]
            losses["loss_ensemble"] = factor * torch.stack(parts).sum()
        return losses

    @property
    def _shared(self) -> LayerPath:
        assert self.layers is not None
        return self.layers[0]
