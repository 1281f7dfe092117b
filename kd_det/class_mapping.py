"""Classes by name: a teacher's scores and boxes become those of the student's classes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kd_engine.weights.teacher_classes import plain_name

_SCORES = re.compile(
    r"(roi_head|bbox_head)\.(.+\.)?(fc_cls|conv_logits|\w+_cls|cls_branches)(\.\d+)*"
)
_BOXES = re.compile(r"roi_head\.(.+\.)?fc_reg(\.\d+)*")


def pick_classes(teacher: nn.Module, wanted: Sequence[str], known: Sequence[str]) -> None:
    """Let a teacher's heads speak of the student's classes alone, in their order.

    The last layers of its heads give the wanted classes. Of a softmax with a background, what other
    classes have counts as background, so that the probabilities of the wanted ones stay; of
    sigmoids, and of boxes and masks for each class, they are left out.

    Args:
        teacher: The detector; its outputs change for good, its weights do not.
        wanted: The student's classes.
        known: The teacher's, in its order.

    Raises:
        ValueError: If the teacher lacks a class, or no layer gives scores of its classes.
    """
    numbers = class_numbers(wanted, known)
    found = []
    for path, layer in teacher.named_modules():
        rows = len(getattr(layer, "weight", ()))
        if _SCORES.fullmatch(path) and rows == len(known) + 1 and isinstance(layer, nn.Linear):
            found.append(layer.register_forward_hook(_Background(numbers, len(known))))
        elif _SCORES.fullmatch(path) and rows and rows % len(known) == 0:
            found.append(layer.register_forward_hook(_Blocks(numbers, len(known), 1)))
        elif _BOXES.fullmatch(path) and rows == 4 * len(known) and len(known) > 1:
            layer.register_forward_hook(_Blocks(numbers, len(known), 4))
    if not found:
        raise ValueError(
            f"no layer of the teacher's heads gives scores of its {len(known)} classes "
            f"({', '.join(known[:3])}, ...), so they cannot be mapped by name."
        )


def class_numbers(wanted: Sequence[str], known: Sequence[str]) -> list[int]:
    """Return the number of each wanted class among the known ones; case and "_" do not count.

    Raises:
        ValueError: If one is not known, or known twice; names the nearest.
    """
    names = [plain_name(one) for one in known]
    missing = [one for one in wanted if names.count(plain_name(one)) != 1]
    if missing or not wanted:
        near = [difflib.get_close_matches(plain_name(one), names, n=1) for one in missing]
        hints = ", ".join(f"{one!r}" for of in near for one in of)
        raise ValueError(
            f"the teacher must know each of the student's classes once, but not {missing}; it "
            f"knows {len(known)}.{f' Nearest: {hints}.' if hints else ''} Give its own names as "
            "classes=dict(student=[...], teacher=[...]), or compare features alone."
        )
    return [names.index(plain_name(one)) for one in wanted]


class _Background:
    """Forward hook: logits (..., classes + 1) with the background last."""

    def __init__(self, numbers: Sequence[int], known: int) -> None:
        self.numbers = list(numbers)
        self.others = [one for one in range(known + 1) if one not in numbers]

    def __call__(self, layer: nn.Module, args: Any, output: Tensor) -> Tensor:
        rest = torch.logsumexp(output[..., self.others], dim=-1, keepdim=True)
        return torch.cat((output[..., self.numbers], rest), dim=-1)


class _Blocks:
    """Forward hook: channels are blocks (anchors) of classes of some values each."""

    def __init__(self, numbers: Sequence[int], known: int, values: int) -> None:
        self.numbers, self.known, self.values = list(numbers), known, values

    def __call__(self, layer: nn.Module, args: Any, output: Tensor) -> Tensor:
        axis = output.dim() - 1 if isinstance(layer, nn.Linear) else 1
        blocks = output.unflatten(axis, (-1, self.known, self.values))
        numbers = torch.tensor(self.numbers, device=output.device)
        picked: Tensor = blocks.index_select(axis + 1, numbers)
        return picked.flatten(axis, axis + 2)
