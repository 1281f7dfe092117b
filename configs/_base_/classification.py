"""Image classification: what its datasets share, and the layers that methods of kd_cls name."""

_base_ = "default_runtime.py"
default_scope = "mmengine"
custom_imports = dict(imports=["kd_cls"])

# Of kd_cls.CifarNetwork; a dataset whose networks have other layers names those.
stem = "network.stem"
stages = ["network.stage1", "network.stage2", "network.stage3"]
last = "network.last"  # the map that is pooled
pool = "network.pool"
branch = ["network.stage3", "network.last", "network.pool", "network.classifier"]  # stages[-2] on
channels = 64  # of the last stage
tuned = dict()  # settings of terms that a dataset has of its own: term to what replaces a method's

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    collate_fn=dict(type="default_collate"),
)
test_dataloader = dict(
    batch_size=256,
    num_workers=0,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="default_collate"),
)
val_dataloader = test_dataloader
test_evaluator = dict(type="kd_cls.ClassificationMetric")
val_evaluator = test_evaluator

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True),
)
