"""Connectors of all terms, under the names by which they are saved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from kd_core.connectors import Connector
from kd_core.layers import Features, levels_of
from kd_core.shapes import ShapeTable, connector_key


class TermConnectors(nn.ModuleDict):
    """The connectors of all terms, saved as ``<term>.<role>_<level>``."""

    def add(self, table: ShapeTable) -> None:
        """Make a connector for each row of a dry run that needs one.

        One that fits already stays, with its weights. Later random numbers are the same as without
        connectors.
        """
        before = {(n, key): m for n, of in self.items() for key, m in of.named_children()}
        self.clear()
        with torch.random.fork_rng(devices=[]):  # they are made on the CPU
            for row in table.rows:
                if not row.connector:
                    continue
                sizes = row.student_shape[1], row.teacher_shape[1]
                connector = before.get((row.term, row.key))
                if (getattr(connector, "kind", None), getattr(connector, "channels", None)) != (
                    row.connector,
                    sizes,
                ):
                    connector = Connector(*sizes, row.connector)
                assert connector is not None
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
            Role to connected maps (N, C_t, H, W), of the roles that have a connector.
        """
        result: dict[str, Features] = {}
        connectors = self._of(term)
        if connectors is None:
            return result
        for role, features in student.items():
            levels = levels_of(features)
            keys = [connector_key(role, level) for level in range(len(levels))]
            if not any(key in connectors for key in keys):
                continue
            connected = [
                connectors[key](level) if key in connectors else level
                for key, level in zip(keys, levels, strict=True)
            ]
            result[role] = connected if isinstance(features, list) else connected[0]
        return result

    def _of(self, term: str) -> nn.ModuleDict | None:
        found = self[term] if term in self else None
        assert found is None or isinstance(found, nn.ModuleDict)
        return found


def idle_parameters(modules: Iterable[nn.ModuleDict], active: Iterable[str]) -> list[nn.Parameter]:
    """Return the parameters of the terms that are not active.

    Args:
        modules: Term name to the modules that are trained for it.
        active: Names of the active terms.
    """
    used = set(active)
    idle = [module for of in modules for name, module in of.items() if name not in used]
    return [parameter for module in idle for parameter in module.parameters()]
