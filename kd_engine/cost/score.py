"""Joint score of accuracy and compression, relative to a teacher.

    S = R * E
    R = max(0, (q(m) - q_ref) / (q(t) - q_ref)),  q_ref = (1 - tolerance) * q(t)
    E = ln(rho) / ln(rho_target), limited to [0, 1]
    rho = product over the costs c of (c(t) / c(m)) ** w(c),  where the weights w add up to 1

q is the score of model m and teacher t, c are stored bytes, multiply-adds and latency. R has no
upper limit: a student that is better than its teacher may exceed 1. The score is ours; its
weaknesses are in docs/cost.md of kdkit's repository.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, fields

TOLERANCE, RHO_TARGET = 0.1, 10.0  # declared, not measured


@dataclass(frozen=True)
class Cost:
    """Costs of one model; each must be above 0.

    Attributes:
        stored_bytes: Bytes of the tensors that an export writes.
        macs: Multiply-adds of one image.
        seconds: Latency of one image.
    """

    stored_bytes: float
    macs: float
    seconds: float

    def __post_init__(self) -> None:
        for name, value in _items(self):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be above 0 and finite, but it is {value}.")


@dataclass(frozen=True)
class CostWeights:
    """Weights of the costs in rho; they must not be negative and must add up to 1."""

    stored_bytes: float = 1 / 3
    macs: float = 1 / 3
    seconds: float = 1 / 3

    def __post_init__(self) -> None:
        values = astuple(self)
        if min(values) < 0 or not math.isclose(sum(values), 1.0, abs_tol=1e-9):
            given = ", ".join(f"{name} {value:g}" for name, value in _items(self))
            raise ValueError(
                f"weights of costs must not be negative and must add up to 1, but they are {given}."
            )


@dataclass(frozen=True)
class References:
    """All that a joint score is relative to: scores with different references are not comparable.

    Attributes:
        metric: Name of the score; a larger value must be better.
        teacher_score: The teacher's, above 0, in the unit of all scores.
        teacher_cost: The teacher's.
        device: Where latency was measured.
        tolerance: Share of the teacher's score, tau, whose loss makes a model worth nothing.
        rho_target: Compression at which E is 1.
        weights: Of the costs.

    Raises:
        ValueError: If a value is out of its range.
    """

    metric: str
    teacher_score: float
    teacher_cost: Cost
    device: str
    tolerance: float = TOLERANCE
    rho_target: float = RHO_TARGET
    weights: CostWeights = CostWeights()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.teacher_score) and self.teacher_score > 0):
            raise ValueError(
                f"the teacher's {self.metric} must be above 0 and finite, but it is "
                f"{self.teacher_score}. A joint score is relative to it."
            )
        if not 0 < self.tolerance <= 1:
            raise ValueError(
                f"tolerance must be above 0 and at most 1, but it is {self.tolerance}."
            )
        if not (math.isfinite(self.rho_target) and self.rho_target > 1):
            raise ValueError(f"rho_target must be above 1 and finite, but it is {self.rho_target}.")

    @property
    def worthless(self) -> float:
        """Score q_ref at and below which R is 0."""
        return (1 - self.tolerance) * self.teacher_score

    def differences(self, other: References) -> list[str]:
        """Name what two references differ in.

        The teacher's latency may differ: it is measured anew each time, and only its ratio to
        those measured with it counts.
        """
        own, others = self._compared(), other._compared()
        return [
            f"{name} is {value} and {others[name]}"
            for name, value in own.items()
            if value != others[name]
        ]

    def describe(self) -> str:
        """Return them in words."""
        weights = ", ".join(f"{name} {value:.3g}" for name, value in _items(self.weights))
        return (
            f"teacher's {self.metric} {self.teacher_score:.4g}, tau {self.tolerance:g} (R is 0 at "
            f"{self.worthless:.4g}), rho target {self.rho_target:g}, weights {weights}; latency "
            f"on {self.device}"
        )

    def _compared(self) -> dict[str, object]:
        return {
            "metric": self.metric,
            "teacher's score": self.teacher_score,
            "teacher's stored bytes": self.teacher_cost.stored_bytes,
            "teacher's multiply-adds": self.teacher_cost.macs,
            "device": self.device,
            "tau": self.tolerance,
            "rho target": self.rho_target,
            **{f"weight of {name}": value for name, value in _items(self.weights)},
        }


@dataclass(frozen=True)
class JointScore:
    """Joint score of a model; ``<`` and ``>`` rank it among those with the same references.

    Attributes:
        retention: R, from 0; above 1 for a model that is better than the teacher.
        rho: Compression, the weighted geometric mean of the ratios of costs.
        efficiency: E, from 0 to 1.
        references: What it is relative to.
    """

    retention: float
    rho: float
    efficiency: float
    references: References

    @property
    def value(self) -> float:
        """S, the product of R and E."""
        return self.retention * self.efficiency

    def __lt__(self, other: JointScore) -> bool:
        """Return whether this one ranks below another.

        Raises:
            ValueError: If their references differ; names what differs.
        """
        if different := self.references.differences(other.references):
            raise ValueError(
                "joint scores with different references cannot be compared, but "
                f"{'; '.join(different)}. Measure the models together, under one teacher."
            )
        return self.value < other.value


def joint_score(score: float, cost: Cost, references: References) -> JointScore:
    """Compute the joint score of a model.

    Args:
        score: Its accuracy, in the unit of the teacher's.
        cost: Its costs, in the units of the teacher's.
        references: What the score is relative to.

    Raises:
        ValueError: If the score is not finite.

    Example:
        >>> teacher = Cost(stored_bytes=1000, macs=1000, seconds=1.0)
        >>> references = References("mAP", 0.5, teacher, "a named device")
        >>> student = joint_score(0.475, Cost(250, 100, 0.5), references)
        >>> f"R {student.retention:.2f}, rho {student.rho:.2f}, S {student.value:.3f}"
        'R 0.50, rho 4.31, S 0.317'
    """
    if not math.isfinite(score):
        raise ValueError(f"a score must be finite, but {references.metric} is {score}.")
    lost = references.worthless
    retention = max(0.0, (score - lost) / (references.teacher_score - lost))
    rho, efficiency = compression(
        cost, references.teacher_cost, references.weights, references.rho_target
    )
    return JointScore(retention, rho, efficiency, references)


def compression(
    cost: Cost,
    teacher: Cost,
    weights: CostWeights | None = None,
    rho_target: float = RHO_TARGET,
) -> tuple[float, float]:
    """Compare the costs of a model with those of its teacher.

    Args:
        cost: Of the model.
        teacher: Of the teacher.
        weights: Of the costs; None weighs them equally.
        rho_target: Compression at which E is 1.

    Returns:
        rho, the weighted geometric mean of the ratios; and E, from 0 to 1.
    """
    shares = dict(_items(weights or CostWeights()))
    whole = dict(_items(teacher))
    log_rho = sum(shares[name] * math.log(whole[name] / value) for name, value in _items(cost))
    efficiency = min(1.0, max(0.0, log_rho / math.log(rho_target)))
    return math.exp(log_rho), efficiency


def ranking(scores: Mapping[str, JointScore]) -> list[str]:
    """Return the names of models, the best joint score first.

    Raises:
        ValueError: If their references differ; names what differs.
    """
    return sorted(scores, key=lambda name: scores[name], reverse=True)


def gap_closed(
    alone: float, distilled: float, teacher: float, deviation: float | None
) -> float | None:
    """Return the share of the teacher's lead over the student alone that distillation closed.

    (distilled - alone) / (teacher - alone); negative if distillation harmed.

    Args:
        alone: Mean score of the student trained alone.
        distilled: Mean score of the distilled student.
        teacher: Score of the teacher.
        deviation: Deviation of the student alone over seeds; None if there was one seed.

    Returns:
        The share; None if the lead is under two deviations, or their size is not known.
    """
    lead = teacher - alone
    if deviation is None or lead <= 0 or lead < 2 * deviation:
        return None
    return (distilled - alone) / lead


def _items(values: Cost | CostWeights) -> Iterator[tuple[str, float]]:
    return ((field.name, getattr(values, field.name)) for field in fields(values))
