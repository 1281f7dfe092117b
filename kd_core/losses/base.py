"""Base class of the losses: what a loss may declare, and the defaults."""

from __future__ import annotations

from torch import nn

from kd_core.checks import check_weights


class DistillationLoss(nn.Module):
    """A loss of a student's and a teacher's features, called as ``loss(student, teacher)``.

    A subclass overrides attributes that do not hold for it. A loss of your own need not be a
    subclass: any module will do, and has these defaults for what it does not declare.

    Attributes:
        accepts_lists: Whether it takes the maps of all levels at once, as lists. Otherwise it is
            called for each level, and the values are summed.
        roles: Names of the kinds of features that it distinguishes, such as HMAT's low, mid and
            high. It then takes mappings from role to features. Undeclared: features alone.
        equal_channels: Whether the student's features must have the teacher's channels; or, of a
            loss with roles, the roles in which they must. Where they differ, a connector is
            trained with the student. A loss without roles gets the connected features instead
            of the raw ones; one with roles gets the raw ones, and the connected ones of these
            roles as the mapping ``connected``.
        connector: Kind of connector that it was published with, one of
            ``kd_core.connectors.CONNECTORS``, for terms that name none; ``None`` for the usual.
        requires: Names of its arguments after student and teacher, such as labels, that a forward
            of the student brings.
        takes: Names of further arguments that it can do without, such as the label weights of
            anchors; a term's ``inputs`` may give them.
        aligns_spaces: Whether it is 0 only if the student's embeddings are the teacher's, so that
            one network can search a gallery of the other's. Relations alone do not ensure that.
        loss_weight: Factor on the returned loss.

    A loss with parameters of its own has a method ``prepare(student, teacher)`` that makes them for
    features of these shapes, connected where it asks for that; it is called in the dry run. They
    are trained with the student, and saved under ``distiller.``. One that reads modules of the
    teacher, such as its classifier, has ``bind_teacher(teacher)``, which is called before that.

    Args:
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite.
    """

    accepts_lists: bool = False
    roles: tuple[str, ...]
    equal_channels: bool | frozenset[str] = False
    connector: str | None = None
    requires: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    aligns_spaces: bool = False

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_weights(loss_weight=loss_weight)
        self.loss_weight = loss_weight


class RelationLoss(DistillationLoss):
    """A loss that relates the samples of a batch with each other.

    Args:
        loss_weight: Factor on the returned loss.
        gather: Relate the samples of all ranks (:mod:`kd_core.relations.gather`). Without it,
            each rank relates its own batch: training with several GPUs is training with smaller
            batches.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite.
    """

    def __init__(self, loss_weight: float = 1.0, gather: bool = False) -> None:
        super().__init__(loss_weight)
        self.gather = gather
