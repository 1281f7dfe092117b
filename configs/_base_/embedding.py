"""Metric learning: what the datasets of kd_retrieval share."""

_base_ = "default_runtime.py"
default_scope = "mmengine"
custom_imports = dict(imports=["kd_retrieval"])

tuned = dict()  # settings of terms that a dataset has of its own: term to what replaces a method's

train_dataloader = dict(
    sampler=dict(type="DefaultSampler", shuffle=True),
    batch_sampler=dict(type="kd_retrieval.MPerClassBatchSampler"),
    collate_fn=dict(type="kd_retrieval.collate"),
)
test_dataloader = dict(
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="kd_retrieval.collate"),
)
val_dataloader = test_dataloader
test_evaluator = dict(type="kd_retrieval.RecallMetric", ks=(1, 2, 4, 8))
val_evaluator = test_evaluator
