"""SRRL: the teacher's own classifier reads the student's map."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from kd_core.checks import check_feature_maps, check_weights, dtype_of, without_autocast
from kd_core.connectors import Connector
from kd_core.losses.base import DistillationLoss
from kd_core.teacher import FrozenTeacher


class SRRLLoss(DistillationLoss):
    """Pooled maps that agree, and what the frozen classifier of the teacher makes of both.

        e    = relu(batch norm(1x1 convolution of the student's map)), always there
        loss = loss_weight * [mean over N, C of (GAP e - GAP T)^2
               + classifier_weight * mean over N, classes of (h_T(GAP e) - h_T(GAP T))^2]

    T is the teacher's last map and h_T its classifier, through which the gradient passes to the
    student. Height and width may differ.

    Yang, Martinez, Bulat and Tzimiropoulos, "Knowledge Distillation via Softmax Regression
    Representation Learning", ICLR 2021, https://openreview.net/forum?id=ZzwDy_wiWv. Status: the
    authors' code. The convolution is trained with the student and saved under ``distiller.``;
    ``prepare`` makes it, and the distiller calls it in its dry run.

    Args:
        classifier: Path of the teacher's module that turns pooled maps (N, C) into logits, such as
            ``network.classifier``; ``None`` leaves the second part out.
        classifier_weight: Factor on the second part.
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If a weight is negative or not finite.

    Example:
        >>> import torch
        >>> student, teacher = torch.randn(2, 8, 4, 4), torch.randn(2, 16, 4, 4)
        >>> loss = SRRLLoss()
        >>> loss.prepare(student, teacher)
        >>> loss(student, teacher).shape
        torch.Size([])
    """

    def __init__(
        self,
        classifier: str | None = None,
        classifier_weight: float = 1.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        check_weights(classifier_weight=classifier_weight)
        self.path, self.classifier_weight = classifier, classifier_weight
        self.embed = nn.ModuleList()
        self._classifier: FrozenTeacher | None = None  # no child: it is the teacher's

    def bind_teacher(self, teacher: nn.Module) -> None:
        """Take the teacher's classifier.

        Args:
            teacher: The teacher.

        Raises:
            ValueError: If it has no such module.
        """
        if self.path is None:
            return
        found = dict(teacher.named_modules()).get(self.path)
        if found is None:
            raise ValueError(
                f"classifier must be a module of the teacher, but {type(teacher).__name__} has no "
                f"{self.path!r}. kdkit layers prints them."
            )
        self._classifier = FrozenTeacher(found)

    def prepare(self, student: Tensor, teacher: Tensor) -> None:
        """Make the convolution for maps of these channels; one that fits already stays.

        Args:
            student: Feature map (N, C_s, H_s, W_s).
            teacher: Feature map (N, C_t, H_t, W_t).

        Raises:
            ValueError: If a map is not 4-D, or N differs.
        """
        check_feature_maps(student, teacher)
        if self._made_for() != (student.shape[1], teacher.shape[1]):
            made = Connector(student.shape[1], teacher.shape[1])
            self.embed = nn.ModuleList([made.to(student.device)])

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare pooled maps, and what the classifier makes of them.

        Args:
            student: Feature map (N, C_s, H_s, W_s).
            teacher: Feature map (N, C_t, H_t, W_t); no gradient flows into it.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If a map is not 4-D, N differs, the maps are not those that the convolution
                was made for, or no teacher is attached whose classifier is wanted.
        """
        check_feature_maps(student, teacher)
        if self.path is not None and self._classifier is None:
            raise ValueError(
                f"SRRLLoss needs the teacher that has {self.path!r}: attach it by a Distiller, or "
                "leave classifier out."
            )
        if self._made_for() != (student.shape[1], teacher.shape[1]):
            raise ValueError(
                f"the loss has a convolution for (student, teacher) channels {self._made_for()}, "
                f"but the maps have {(student.shape[1], teacher.shape[1])}. Give Distiller.attach "
                "an example, or call prepare() with such maps before the optimizer is made."
            )
        with without_autocast(student):
            embed = self.embed[0]
            own = embed(student.to(dtype_of(embed))).float().relu().mean((2, 3))  # (N, C_t)
            target = teacher.detach().float().mean((2, 3))
            loss = F.mse_loss(own, target)
            if self._classifier is not None and self.classifier_weight:
                classify = self._classifier.model
                dtype = dtype_of(classify)
                found, wanted = (classify(one.to(dtype)).float() for one in (own, target))
                scores = F.mse_loss(found, wanted)
                loss = loss + self.classifier_weight * scores
        return self.loss_weight * loss

    def _made_for(self) -> tuple[int, int] | None:
        if not len(self.embed):
            return None
        weight = self.embed[0].get_parameter("project.weight")
        return weight.shape[1], weight.shape[0]
