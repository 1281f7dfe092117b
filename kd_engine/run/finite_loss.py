"""Hook that stops a training, distilled or plain, at the first loss that is not finite."""

from __future__ import annotations

import math
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor


class FiniteLossHook(Hook):  # type: ignore[misc]
    """Hook that raises at an iteration whose loss is NaN or infinite, before anything is saved.

    A NaN spreads to all weights in one step, and later steps train nothing. Mixed precision is no
    exception: gradients overflow there now and then and their step is skipped, but losses do not.

    mmengine logs every value of every iteration, so looking at them costs nothing more.
    """

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Check the losses of an iteration.

        Raises:
            FloatingPointError: If one is not finite; names each, and the iteration.
        """
        values = {
            key: value.detach().item() if isinstance(value, Tensor) else value
            for key, value in (outputs or {}).items()
            if "loss" in key
        }
        bad = {key: value for key, value in values.items() if not math.isfinite(value)}
        if len(bad) > 1:
            bad.pop("loss", None)  # the sum of the others
        if bad:
            named = ", ".join(f"{key} is {value}" for key, value in bad.items())
            raise FloatingPointError(
                f"every loss must be finite, but at iteration {runner.iter} {named}. Lower the "
                "learning rate or add a warm-up, clip gradients (optim_wrapper.clip_grad), and "
                "look for wrong annotations (kdkit check CONFIG --images)."
            )
