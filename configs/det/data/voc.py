"""Pascal VOC 2007 + 2012 below KD_DATA, and Faster R-CNN with ResNet-18."""

_base_ = "mmdet::pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py"
custom_imports = dict(imports=["kd_det"])

tuned = dict()  # settings of terms that this set has of its own: term to what replaces a method's

model = dict(
    backbone=dict(depth=18, init_cfg=dict(checkpoint="torchvision://resnet18")),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
# Settings of the teacher that differ; none is published for VOC.
teacher = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint="torchvision://resnet101")),
    neck=dict(in_channels=[256, 512, 1024, 2048]),
)
teacher_optim_wrapper = dict()
schedules = dict(teacher=dict(train_cfg=_base_.train_cfg, param_scheduler=_base_.param_scheduler))
trained = dict(
    teacher=dict(
        config="kdkit::det/teacher+voc", checkpoint="work_dirs/det/teacher+voc/epoch_4.pth"
    ),
    student=dict(
        config="kdkit::det/student+voc",
        checkpoint="work_dirs/det/student+voc/epoch_4.pth",
    ),
)

data_root = "{{$KD_DATA:data}}/VOCdevkit/"
train_dataloader = _base_.train_dataloader
train_dataloader.dataset.dataset.datasets = [
    dict(year, data_root=data_root) for year in train_dataloader.dataset.dataset.datasets
]
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
# The learning rate is for 8 GPUs with 2 images each; elsewhere this scales it to the batch.
auto_scale_lr = dict(enable=True)
