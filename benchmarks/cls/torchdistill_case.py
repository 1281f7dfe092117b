"""Step of torchdistill with the same method, where it is installed and has the method."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from benchmarks.cls.case import ClassifierCase, require_agreement
from benchmarks.step_costs import StepCase, seed_case
from kd_core import Distiller
from kd_core.layers import LayerPath
from kd_core.losses import AttentionTransferLoss, SimilarityPreservingLoss, SoftTargetLoss
from kd_core.term import WHOLE, Term
from kd_engine.doctor.versions import version_of

PEER = "torchdistill"
_COMMAND = f"pip install {PEER}"
_OTHER_VALUE = (
    "another, as its SPKDLoss divides rows by their sum instead of their length; the work is alike"
)
_Terms = dict[str, dict[str, Any]]


def with_peer(case: ClassifierCase) -> tuple[StepCase, str]:
    """Let torchdistill take part, where it can.

    Args:
        case: The steps of a config.

    Returns:
        The case, with the peer's step if it takes part; and a sentence about it.
    """
    if not isinstance(case.distiller, Distiller):
        return case, f"{PEER} does not take part: it has no such method."
    terms = peer_terms(case.distiller.terms, case.student.loss_weight)
    if terms is None or not case.has_plain_optimizer:
        return case, (
            f"{PEER} does not take part: it is asked only for soft targets, attention transfer "
            "and similarity preserving, on whole layers, with a plain optimizer."
        )
    try:
        import torchdistill  # noqa: F401
    except ImportError as error:
        return case, f"{PEER} does not take part ({error}). Install it with: {_COMMAND}"
    peer = TorchdistillCase(case, terms)
    try:
        peer.check_same_loss()
    except ValueError as error:
        return case, f"{PEER} does not take part: {error}"
    value = "the same" if peer.has_same_loss else _OTHER_VALUE
    return peer, f"{PEER} {version_of(PEER)} takes part; its total loss is {value}."


class TorchdistillCase:
    """A case with the step of torchdistill's distillation box added.

    The box has copies of student and teacher, the optimizer's settings, and hooks of its own.

    Args:
        case: The other steps.
        terms: Its loss terms, from :func:`peer_terms`.
    """

    def __init__(self, case: ClassifierCase, terms: _Terms) -> None:
        self.case = case
        self.distiller: Any = case.distiller
        self.term_actions = case.term_actions
        self.parts = case.parts
        self.has_same_loss = not any(
            isinstance(term.loss, SimilarityPreservingLoss)
            for term in case.distiller.terms.values()
        )
        self._box = _box(case, terms)
        self._box.student_model.train()
        self._box.teacher_model.eval()

    def actions(self) -> dict[str, Callable[[], None]]:
        """Return the others' actions and the peer's step."""
        return self.case.actions() | {PEER: self._step}

    def check_same_work(self) -> None:
        """Require equal logits of our two students, and an equal total loss of the peer.

        Raises:
            ValueError: If they differ by more than rounding.
        """
        self.case.check_same_work()
        self.check_same_loss()

    def check_same_loss(self) -> None:
        """Require an equal total loss of the peer, where it has the same formula.

        Raises:
            ValueError: If it differs.
        """
        if not self.has_same_loss:
            return
        seed_case()
        found = self._loss().detach()
        seed_case()
        require_agreement(f"{PEER} and this code", "total losses", found, self.case.loss())

    def _loss(self) -> Tensor:
        data = self.case.data
        loss: Tensor = self._box.forward_process(data["inputs"], data["labels"])
        return loss

    def _step(self) -> None:
        self._box.post_forward_process(self._loss())


def peer_terms(terms: Mapping[str, Term], cross_entropy: float = 1.0) -> _Terms | None:
    """Return terms in the form of torchdistill's config.

    Args:
        terms: Our terms; their schedules are ignored.
        cross_entropy: Weight of the cross-entropy.

    Returns:
        Its loss terms with the cross-entropy, or ``None`` if it does not have the method.
    """
    result: _Terms = {"ce": _cross_entropy(cross_entropy)}
    for name, term in terms.items():
        write, pairs = _WRITERS.get(type(term.loss)), _pairs(term)
        written = None if write is None or pairs is None or term.auto else write(term.loss, pairs)
        if written is None:
            return None
        for number, (criterion, factor) in enumerate(written):
            weight = term.weight * factor
            result[f"{name}{number}"] = dict(criterion=criterion, weight=weight)
    return result


_Pairs = list[tuple[str, str]]
_Written = list[tuple[dict[str, Any], float]] | None


def _cross_entropy(weight: float) -> dict[str, Any]:
    logits = dict(is_from_teacher=False, module_path=".", io="output")
    return dict(
        criterion=dict(key="CrossEntropyLoss", kwargs=dict(reduction="mean")),
        criterion_wrapper=dict(
            key="SimpleLossWrapper", kwargs=dict(input=logits, target=dict(uses_label=True))
        ),
        weight=weight,
    )


def _soft_targets(loss: Any, pairs: _Pairs) -> _Written:
    return [
        (
            dict(
                key="KDLoss",
                kwargs=dict(
                    student_module_path=student,
                    student_module_io="output",
                    teacher_module_path=teacher,
                    teacher_module_io="output",
                    temperature=loss.temperature,
                    beta=1.0,  # without alpha it is not used, but it must be a number
                ),
            ),
            loss.loss_weight * loss.temperature**2,
        )
        for student, teacher in pairs
    ]


def _attention(loss: Any, pairs: _Pairs) -> _Written:
    if loss.power != 2 or loss.form != "code" or loss.reduction != "mean":
        return None
    at_pairs = {
        f"pair{number}": dict(
            student=dict(io="output", path=student), teacher=dict(io="output", path=teacher)
        )
        for number, (student, teacher) in enumerate(pairs)
    }
    return [(dict(key="ATLoss", kwargs=dict(at_pairs=at_pairs, mode="code")), loss.loss_weight)]


def _similarities(loss: Any, pairs: _Pairs) -> _Written:
    return [
        (
            dict(
                key="SPKDLoss",
                kwargs=dict(
                    student_output_path=student, teacher_output_path=teacher, reduction="batchmean"
                ),
            ),
            loss.loss_weight,
        )
        for student, teacher in pairs
    ]


_WRITERS: dict[type[nn.Module], Callable[[Any, _Pairs], _Written]] = {
    SoftTargetLoss: _soft_targets,
    AttentionTransferLoss: _attention,
    SimilarityPreservingLoss: _similarities,
}


def _pairs(term: Term) -> _Pairs | None:
    if set(term.student_layers) != {WHOLE}:
        return None
    student, teacher = term.student_layers[WHOLE], term.teacher_layers[WHOLE]
    if not all(_is_whole(selector) for selector in (*student, *teacher)):
        return None
    return [(own.module, other.module) for own, other in zip(student, teacher, strict=True)]


def _is_whole(selector: LayerPath) -> bool:
    return selector.text == selector.module


def _box(case: ClassifierCase, terms: _Terms) -> Any:
    from torchdistill.core.distillation import DistillationBox

    optimizer = dict(case.optimizer_config)
    student, teacher = map(copy.deepcopy, (case.student, case.distiller.teacher.model))
    term_of = case.distiller.terms.values()
    layers = {
        side: sorted({s.module for term in term_of for s in getattr(term, f"{side}_layers")[WHOLE]})
        for side in ("student", "teacher")
    }
    config = dict(
        num_epochs=1,
        student=_side(layers["student"]),
        teacher=_side(layers["teacher"]) | dict(requires_grad=False),
        criterion=dict(key="WeightedSumLoss", kwargs=dict(sub_terms=terms)),
        optimizer=dict(key=optimizer.pop("type"), kwargs=optimizer),
    )
    return DistillationBox(teacher, student, {}, config, case.device, None, False, 1)


def _side(layers: list[str]) -> dict[str, Any]:
    return dict(forward_proc="forward_batch_only", forward_hook=dict(output=layers))
