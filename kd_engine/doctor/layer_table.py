"""Table of a model's layers as selectors, with the shapes of their outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from kd_core.layers import tensors_in
from kd_core.table import format_table
from kd_core.tokens import as_levels


@dataclass
class LayerRow:
    """One module and what it returned.

    Attributes:
        path: Dotted name, as a selector takes it.
        kind: Class of the module.
        outputs: Selector of each tensor that it returned, to its shape in each run.
        runs: How often it ran; a selector of a layer that ran several times gives a list.
        changed: Whether a later layer changed its output in place; then it cannot be selected.
    """

    path: str
    kind: str
    outputs: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)
    runs: int = 0
    changed: bool = False

    def cells(self) -> list[tuple[str, str, str]]:
        """Return selector, class and shape, one line for each tensor."""
        reason = self._why_not()
        if reason:
            return [(self.path, self.kind, f"({reason})")]
        kinds = [self.kind] + [""] * (len(self.outputs) - 1)
        return [
            (name, kind, ", ".join("x".join(map(str, one)) or "scalar" for one in shapes))
            for (name, shapes), kind in zip(self.outputs.items(), kinds, strict=True)
        ]

    def _why_not(self) -> str:
        if not self.runs:
            return "does not run"
        if not self.outputs:
            return "no tensors"
        return "changed in place by the next layer" if self.changed else ""


def layer_rows(model: nn.Module, run: Callable[[nn.Module], Any]) -> list[LayerRow]:
    """Run a model once and record what each of its modules returns.

    Args:
        model: The model.
        run: Runs it, without gradients.

    Returns:
        One row for each module that has a name, in the order of ``named_modules``.
    """
    rows = {
        name: LayerRow(name, type(module).__name__)
        for name, module in model.named_modules()
        if name
    }
    seen: list[tuple[LayerRow, Tensor, int]] = []
    handles = [
        module.register_forward_hook(_recorder(rows[name], seen), with_kwargs=True)
        for name, module in model.named_modules()
        if name
    ]
    try:
        run(model)
    finally:
        for handle in handles:
            handle.remove()
    for row, tensor, version in seen:
        row.changed |= tensor._version != version
    return list(rows.values())


def layer_table(rows: list[LayerRow], depth: int | None = None, match: str = "") -> str:
    """Format rows as an aligned table.

    Args:
        rows: The rows to show.
        depth: Largest number of parts of a dotted name; ``None`` shows all.
        match: Text that a name or class must contain, in any case.

    Returns:
        A header and one line for each selector.

    Raises:
        ValueError: If nothing is left to show.
    """
    shown = [
        cells
        for row in rows
        if depth is None or row.path.count(".") < depth
        if match.lower() in f"{row.path} {row.kind}".lower()
        for cells in row.cells()
    ]
    if not shown:
        raise ValueError(
            f"no layer's name or class contains {match!r} within depth {depth or 'any'}. "
            "Leave --match out to see all of them."
        )
    return "\n".join(format_table(("selector", "type", "output (N, C, H, W)"), shown))


def _recorder(
    row: LayerRow, seen: list[tuple[LayerRow, Tensor, int]]
) -> Callable[[nn.Module, Any, Any, Any], None]:
    def record(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        row.runs += 1
        for name, tensor in tensors_in(as_levels(output, kwargs), row.path):
            row.outputs.setdefault(name, []).append(tuple(tensor.shape))
            seen.append((row, tensor, tensor._version))

    return record
