# kdkit train kdkit::query_dino.py
"""COCO: DINO with ResNet-18 under mmdet's published one with ResNet-50: queries after matching."""

_base_ = "mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py"
custom_imports = dict(imports=["kd_det"])

student = _base_.model
student.backbone.update(
    depth=18, init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet18")
)
student.neck.in_channels = [128, 256, 512]

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student=student,
    teacher=dict(
        config="mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py",
        checkpoint="https://download.openmmlab.com/mmdetection/v3.0/dino/"
        "dino-4scale_r50_8xb2-12e_coco/"
        "dino-4scale_r50_8xb2-12e_coco_20221202_182705-55b2bba2.pth",
    ),
    dry_run_size=(256, 256),  # the encoder must have more places than there are queries
    terms=dict(
        queries=dict(
            loss=dict(type="kd_core.losses.QueryResponseLoss"),
            layers=dict(scores="bbox_head[0]", boxes="bbox_head[1]"),
        )
    ),
)

data_root = "{{$KD_DATA:data}}/coco/"
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + "annotations/instances_val2017.json")
test_evaluator = val_evaluator
# The learning rate is for 8 GPUs with 2 images each; elsewhere this scales it to the batch.
auto_scale_lr = dict(enable=True)
