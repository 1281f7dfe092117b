"""What every task needs from mmengine: distilled models from configs, hooks, checkpoints."""

from kd_engine.environment import check_distributions

check_distributions()
