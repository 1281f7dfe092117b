"""Runtime that all configs share: loops, checkpoints, logs and a seed."""

train_cfg = dict(type="EpochBasedTrainLoop")
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=2),
    logger=dict(type="LoggerHook", interval=10),
)
log_level = "INFO"
randomness = dict(seed=0)
