# python tools/train.py configs/cls/fsp_resnet8_resnet20_6e_caltech100.py --with-teacher
"""FSP: channel products of consecutive stages, beside the task from the start."""

_base_ = "../_base_/cls_caltech100.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::cls/teacher_resnet20_40e_caltech100.py",
        checkpoint="work_dirs/cls/teacher_resnet20_40e_caltech100/epoch_40.pth",
    ),
    terms=dict(
        fsp=dict(
            loss=dict(type="kd_core.losses.FlowOfSolutionProcedureLoss"),
            layers=["network.stem", "network.stage1", "network.stage2", "network.stage3"],
            weight=5.0,  # a tenth of RepDistiller's, which diverges on fashion_mnist
        ),
    ),
)
