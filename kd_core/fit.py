"""Where student and teacher differ in channels: a connector for each such pair of maps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from kd_core.connectors import Connector, VectorConnector
from kd_core.shapes import ShapeTable, connector_key
from kd_core.term import Features


class TermConnectors(nn.ModuleDict):
    """The connectors of all terms, saved as ``<term>.<role>_<level>``."""

    def add(self, table: ShapeTable) -> None:
        """Make a connector for each row of a dry run that needs one.

        One that fits already stays, with its weights. The random numbers that follow are those
        without connectors.
        """
        before = {(n, key): m for n, of in self.items() for key, m in of.named_children()}
        self.clear()
        with torch.random.fork_rng(devices=[]):  # they are made on the CPU
            for row in table.rows:
                if not row.connected:
                    continue
                sizes = row.student_shape[1], row.teacher_shape[1]
                connector = before.get((row.term, row.key))
                if connector is None or not _fits(connector, sizes):
                    connector = (Connector if row.is_map else VectorConnector)(*sizes)
                if row.term not in self:
                    self[row.term] = nn.ModuleDict()
                of_term = self._of(row.term)
                assert of_term is not None
                of_term[row.key] = connector.to(row.device, row.dtype)

    def connect(self, term: str, student: Mapping[str, Features]) -> dict[str, Features]:
        """Run the connectors of a term.

        Args:
            term: Name of the term.
            student: Role to feature map (N, C_s, H, W) or list of them.

        Returns:
            The same with connected maps (N, C_t, H, W): in their place where a loss knows no
            roles, and as ``<role>_connected`` beside the raw ones where it does.
        """
        result = dict(student)
        connectors = self._of(term)
        if connectors is None:
            return result
        for role, features in student.items():
            levels = features if isinstance(features, list) else [features]
            keys = [connector_key(role, level) for level in range(len(levels))]
            if not any(key in connectors for key in keys):
                continue
            connected = [
                connectors[key](level) if key in connectors else level
                for key, level in zip(keys, levels, strict=True)
            ]
            target = f"{role}_connected" if role else role
            result[target] = connected if isinstance(features, list) else connected[0]
        return result

    def idle(self, active: Iterable[str]) -> list[nn.Parameter]:
        """Return the parameters of the terms that are not active."""
        used = set(active)
        return [p for name, module in self.items() if name not in used for p in module.parameters()]

    def _of(self, term: str) -> nn.ModuleDict | None:
        found = self[term] if term in self else None
        assert found is None or isinstance(found, nn.ModuleDict)
        return found


def _fits(connector: nn.Module, sizes: tuple[int, int]) -> bool:
    weight: torch.Tensor = connector.get_parameter("project.weight")
    return (weight.shape[1], weight.shape[0]) == sizes
