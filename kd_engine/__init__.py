"""Engine of every task, on mmengine: distilled models from configs, hooks, checkpoints."""

from kd_core.packages import require_packages
from kd_engine.environment import check_distributions

check_distributions()
require_packages("kd_engine", ("mmengine", "torchvision", "PIL"))
