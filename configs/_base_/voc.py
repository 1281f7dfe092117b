"""Pascal VOC 2007 + 2012 below KD_DATA, and Faster R-CNN with ResNet-18."""

_base_ = "mmdet::pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py"
custom_imports = dict(imports=["kd_det"])

model = dict(
    backbone=dict(depth=18, init_cfg=dict(checkpoint="torchvision://resnet18")),
    neck=dict(in_channels=[64, 128, 256, 512]),
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
