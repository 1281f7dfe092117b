"""SelfDistiller: terms that compare a student with an average, or snapshots, of its own weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

import kd_core.loss_checks as loss_checks
from kd_core.distiller import Distiller
from kd_core.following import Following, live_norms
from kd_core.teacher import FrozenTeacher
from kd_core.term import Term


class SelfDistiller(Distiller):
    """Distiller whose teacher is the student's earlier self; no teacher is trained.

        loss = own + sum over terms of weight * schedule * loss(student, earlier self)
        earlier weights, before each step: m * earlier + (1 - m) * student, or snapshots

    For networks whose layers are compared, such as detectors; :class:`kd_core.methods.SelfTeacher`
    compares the predictions of classifiers and embedders. The earlier self is in eval mode, but
    for batch norms that train in the student: those use the statistics of each batch. It gets no
    gradient. Unlike a trained teacher it is saved, under ``distiller.earlier``: a resumed run is
    the unbroken one. It is never exported. At its first step it becomes a copy of the student,
    whatever it was: begin with a warm-up. It follows also while no term counts. It costs a copy of
    the student and, while a term counts, one more forward of what the terms read.

    After Tarvainen and Valpola, "Mean teachers are better role models", NIPS 2017,
    https://arxiv.org/abs/1703.01780 (the average) and Yang, Xie, Su and Yuille, "Snapshot
    Distillation", CVPR 2019, https://arxiv.org/abs/1812.00123 (the copies). Status: reconstruction:
    both ideas with the losses of this package.

    Args:
        earlier: A deep copy of the student, or another network of the same layers; how to run it is
            that of a :class:`FrozenTeacher`.
        terms: Name to :class:`Term`.
        gradient_shares: See :class:`Distiller`.
        check_finite: See :class:`Distiller`.
        extra_inputs: See :class:`Distiller`.
        following: How it follows; ``None`` takes the average with m = 0.999.

    Raises:
        ValueError: As of :class:`Distiller`; or if there are several earlier selves, or a term's
            weight is measured.

    Example:
        >>> import copy
        >>> from kd_core.losses import AttentionTransferLoss
        >>> student = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        >>> terms = {"at": Term(AttentionTransferLoss(), layers="0")}
        >>> distiller = SelfDistiller(copy.deepcopy(student), terms)
        >>> _ = distiller.attach(student)(torch.randn(2, 3, 8, 8))
        >>> distiller.losses()["loss_at"].item()  # at first both are equal
        0.0
    """

    begun: Tensor

    def __init__(
        self,
        earlier: FrozenTeacher | nn.Module | Mapping[str, FrozenTeacher | nn.Module],
        terms: Mapping[str, Term],
        gradient_shares: loss_checks.GradientMeter | None = None,
        check_finite: bool = True,
        extra_inputs: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
        following: Following | None = None,
    ) -> None:
        super().__init__(earlier, terms, gradient_shares, check_finite, extra_inputs)
        if measured := [name for name, term in terms.items() if term.auto]:
            raise ValueError(
                f"the weight of a term must be a number of your own, but that of "
                f"{', '.join(measured)} is measured ('auto', calibrate): a network and its average "
                "are equal at first, and the weight that gives their difference a share of the "
                "gradient has no bound. Give numbers, chosen on validation data, and a warm-up."
            )
        self.following = following or Following()
        self.earlier = self.teacher.model  # a child, so that it is saved
        self.register_buffer("begun", torch.zeros((), dtype=torch.bool))
        self._begun: bool | None = None  # the same without a wait for the GPU
        self._epoch_length: int | None = None

    def networks(self) -> list[tuple[str, nn.Module, bool]]:
        """Return the earlier self."""
        return [("the earlier self", self.earlier, False)]

    def is_active(self) -> bool:
        """Return True: the earlier self follows also where no term counts."""
        return True

    def set_run_length(self, epoch_length: int, total: int | None = None) -> None:
        """Let schedules and snapshots know how long an epoch and the run are."""
        super().set_run_length(epoch_length, total)
        self._epoch_length = epoch_length

    def pre_forward(
        self, student: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        """Let the earlier weights follow the student's, and run their network."""
        if self._begun is None:
            self._begun = bool(self.begun)
        count = self.current_iteration()
        first = not self._begun
        self.following.step(self.earlier, student, count, self._epoch_length, first)
        if first:
            self.begun.fill_(True)
            self._begun = True
        self.teacher.live_norms = live_norms(self.earlier, student)
        self.teacher.bind(term.loss for term in self.terms.values())  # some read weights once
        super().pre_forward(student, args, kwargs)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._begun = None
