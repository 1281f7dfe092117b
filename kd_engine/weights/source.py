"""Source of weights: a file, an entry of it, and a prefix of its keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.runner import CheckpointLoader
from torch import nn

from kd_core.checkpoint.load import (
    CheckpointError,
    LoadReport,
    load_weights,
    read_checkpoint,
    state_dict_of,
)
from kd_engine.weights.checkpoint import use_safe_checkpoints
from kd_engine.weights.missing import require_weights
from kd_engine.weights.safe_globals import ALLOWED
from kd_engine.work_dir.run_checkpoint import checkpoint_file

# Keys of what is trained with a student but is not part of it: connectors, a metric loss's proxies.
TRAINING_ONLY = ("distiller.", "distiller_", "criterion.")
OPTIONS = ("allow_partial", "key", "prefix")


@dataclass(frozen=True)
class WeightSource:
    """Weights in a file, to be loaded strictly and safely.

    Attributes:
        checkpoint: File or URL; :meth:`of` and :meth:`named` take a work dir, too.
        allow_partial: Accept weights that do not fit entirely, with a warning.
        key: Entry of the file that holds them, such as ``state_dict_ema``; the default is
            ``state_dict``, ``model`` or the file itself.
        prefix: Take only the keys that begin with this, without it.
    """

    checkpoint: str
    allow_partial: bool = False
    key: str | None = None
    prefix: str | None = None

    @classmethod
    def of(cls, reference: Mapping[str, Any]) -> WeightSource | None:
        """Return the source that a reference ``dict(checkpoint=, ...)`` names, None without one.

        Raises:
            FileNotFoundError: If it names a work dir without a whole checkpoint.
        """
        if reference.get("checkpoint") is None:
            return None
        options = {key: reference[key] for key in OPTIONS if key in reference}
        config = reference.get("config")
        run = config if isinstance(config, str) else None
        return cls(checkpoint_file(str(reference["checkpoint"]), run), **options)

    @classmethod
    def named(
        cls, checkpoint: str | WeightSource | None, default: WeightSource | None = None
    ) -> WeightSource | None:
        """Return the source of a checkpoint that a user names, or the default.

        Args:
            checkpoint: File, URL or work dir, a source, or None.
            default: The source for None; its ``allow_partial`` counts for a file as well.

        Raises:
            FileNotFoundError: If it is a work dir without a whole checkpoint.
        """
        if isinstance(checkpoint, WeightSource):
            return checkpoint
        if checkpoint is None:
            return default
        file = checkpoint_file(checkpoint)
        return cls(file, allow_partial=default is not None and default.allow_partial)

    def read(self) -> dict[str, Any]:
        """Read the weights, without running code from the file.

        Raises:
            kd_core.checkpoint.CheckpointError: If the file is unsafe or broken, or has no such
                entry or prefix.
        """
        content = read_engine_checkpoint(self.checkpoint)
        try:
            return state_dict_of(content, self.key, self.prefix)
        except CheckpointError as error:
            raise CheckpointError(f"{self.checkpoint}: {error}") from error

    def load_into(self, model: nn.Module) -> LoadReport:
        """Load the weights into a model, without what only its training needs.

        Raises:
            kd_core.checkpoint.CheckpointError: If they are unsafe, broken or do not fit.
        """
        return self.put_into(model, self.read())

    def put_into(self, model: nn.Module, weights: Mapping[str, Any]) -> LoadReport:
        """Load weights that :meth:`read` has read."""
        return load_weights(
            model,
            weights,
            source=self.checkpoint,
            allow_partial=self.allow_partial,
            ignore=TRAINING_ONLY,
        )


def read_engine_checkpoint(path: str) -> dict[str, Any]:
    """Read a checkpoint that mmengine may have written, without running code from it.

    Args:
        path: File or URL, or a name that mmengine knows, such as ``torchvision://resnet18``.

    Raises:
        FileNotFoundError: If there is no such file; names the command that fetches it, if there is
            one.
    """
    if "://" in path and not path.startswith(("http://", "https://")):
        use_safe_checkpoints()
        content: dict[str, Any] = CheckpointLoader.load_checkpoint(path, map_location="cpu")
        return content
    require_weights(path)
    return read_checkpoint(path, allowed=ALLOWED)


def read_weights(path: str) -> dict[str, Any]:
    """Read the weights of a checkpoint that mmengine may have written: one reader for all."""
    return WeightSource(path).read()
