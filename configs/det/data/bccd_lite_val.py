"""BCCD with a pretrained pair: EfficientNet-Lite2 teaches Lite0; to choose settings on."""

_base_ = ["bccd_val.py", "../../_base_/lite_pair.py"]

model = _base_.lite.student
teacher = dict(_delete_=True, **_base_.lite.teacher)
optim_wrapper = _base_.teacher_optim_wrapper  # the student's backbone is pretrained as well
schedules = _base_.lite.schedules
train_cfg = _base_.lite.schedules.student.train_cfg
param_scheduler = _base_.lite.schedules.student.param_scheduler
trained = dict(
    teacher=dict(
        config="kdkit::det/teacher+bccd_lite_val",
        checkpoint="work_dirs/det/teacher+bccd_lite_val/epoch_8.pth",
    ),
    student=dict(
        config="kdkit::det/student+bccd_lite_val",
        checkpoint="work_dirs/det/student+bccd_lite_val/epoch_4.pth",
    ),
)
