# kdkit train kdkit::det/unlabeled/distill+bccd
"""First phase: backbone and neck learn from a backbone alone, on images without annotations.

The teacher is the ImageNet backbone of the other methods' teacher: no detector is trained first.
"""

_base_ = "data/bccd.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student=dict(
        type="kd_det.HeadlessDetector",
        data_preprocessor=_base_.model.data_preprocessor,
        backbone=_base_.model.backbone,
        neck=_base_.model.neck,
    ),
    teacher=dict(
        backbone={key: one for key, one in _base_.teacher.backbone.items() if key != "_delete_"}
    ),
    terms=dict(
        imitation=dict(
            loss=dict(type="kd_core.losses.FeatureImitationLoss"),
            layers="neck[0:4]",
            teacher_layers="backbone[0:4]",
            normalize="batch",
        ),
    ),
)
model["terms"]["imitation"].update(_base_.tuned.get("imitation", {}))
train_dataloader = dict(dataset=dict(_base_.unlabeled, _delete_=True))
val_dataloader = None
val_cfg = None
val_evaluator = None
test_dataloader = None
test_cfg = None
test_evaluator = None
train_cfg = dict(_delete_=True, type="EpochBasedTrainLoop", max_epochs=_base_.phase_epochs)
