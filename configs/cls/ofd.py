# kdkit train kdkit::cls/ofd+digits --with-teacher
"""OFD: the stages before their last ReLU, where the teacher's negative values are one margin."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        ofd=dict(
            loss=dict(
                type="kd_core.losses.OFDLoss",
                norms=_base_.ofd.norms,
                loss_weight=1e-3,  # the authors' for CIFAR
            ),
            layers=_base_.ofd.layers,
            teacher_layers=_base_.ofd.teacher_layers,
        ),
    ),
)
model["terms"]["ofd"].update(_base_.tuned.get("ofd", {}))
