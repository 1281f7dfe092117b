# kdkit train kdkit::hmat_faster_rcnn.py
"""COCO: Faster R-CNN with ResNet-18 under mmdet's published one with ResNet-101 (39.8 mAP)."""

_base_ = "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
custom_imports = dict(imports=["kd_det"])

student = _base_.model
student.backbone.update(
    depth=18, init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet18")
)
student.neck.in_channels = [64, 128, 256, 512]

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student=student,
    teacher=dict(
        config="mmdet::faster_rcnn/faster-rcnn_r101_fpn_2x_coco.py",
        checkpoint="https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/"
        "faster_rcnn_r101_fpn_2x_coco/"
        "faster_rcnn_r101_fpn_2x_coco_bbox_mAP-0.398_20200504_210455-1d2dac9c.pth",
    ),
    terms=dict(
        # The preset's weights were measured on BCCD (configs/det) only. Look at the gradient
        # shares on COCO: --cfg-options model.gradient_shares.layer=neck
        hmat=dict(
            loss=dict(type="kd_core.losses.HMATLoss", preset="detector"),
            layers=dict(low="neck[0]", mid="neck[1:3]", high="neck[3]"),
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
