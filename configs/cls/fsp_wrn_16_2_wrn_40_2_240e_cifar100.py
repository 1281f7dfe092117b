# python tools/train.py configs/cls/fsp_wrn_16_2_wrn_40_2_240e_cifar100.py --with-teacher
"""FSP: channel products of consecutive stages, beside the task from the start."""

_base_ = "../_base_/cls_cifar100_240e.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::cls/teacher_wrn_40_2_240e_cifar100.py",
        checkpoint="work_dirs/cls/teacher_wrn_40_2_240e_cifar100/epoch_240.pth",
    ),
    terms=dict(
        fsp=dict(
            loss=dict(type="kd_core.losses.FlowOfSolutionProcedureLoss"),
            layers=["network.stem", "network.stage1", "network.stage2", "network.stage3"],
            weight=50.0,  # RepDistiller's script; its code has 30 epochs of FSP alone instead
        ),
    ),
)
