"""The protocol of relational knowledge distillation on CUB-200-2011: data and student.

After the authors' code (Park, Kim, Lu and Cho, CVPR 2019): images of 256 x 256, crops of 224,
5 images of each class, 100 batches an epoch. Their batches have 128 images, which 5 does not
divide; these have 125.
"""

_base_ = "../../../_base_/embedding.py"

model = dict(
    type="kd_retrieval.Embedder",
    trunk=dict(type="kd_retrieval.TorchvisionTrunk", name="resnet18", weights="IMAGENET1K_V1"),
    dim=64,
    criterion=dict(
        loss=dict(type="TripletMarginLoss", margin=0.2),
        miner=dict(type="DistanceWeightedMiner", cutoff=0.5, nonzero_loss_cutoff=1.4),
    ),
)

dataset = dict(type="kd_retrieval.CUB200", data_root="{{$KD_DATA:data}}/CUB_200_2011/")
train_dataloader = dict(
    batch_size=125,
    num_workers=8,
    persistent_workers=True,
    batch_sampler=dict(samples_per_class=5, num_batches=100),
    dataset=dict(
        **dataset,
        split="trainval",  # all 100 training classes: the last epoch counts, none is chosen
        transforms=[
            dict(type="Resize", size=(256, 256)),
            dict(type="RandomCrop", size=224),
            dict(type="RandomHorizontalFlip"),
        ],
    ),
)
test_dataloader = dict(
    batch_size=128,
    num_workers=8,
    dataset=dict(
        **dataset,
        split="test",
        transforms=[dict(type="Resize", size=(256, 256)), dict(type="CenterCrop", size=224)],
    ),
)
val_dataloader = test_dataloader

max_epochs = 80
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=1e-4, weight_decay=1e-5))
param_scheduler = [dict(type="MultiStepLR", by_epoch=True, milestones=[40, 60], gamma=0.1)]

trained = dict(
    teacher=dict(
        config="kdkit::retrieval/rkd_protocol/teacher+cub",
        checkpoint="work_dirs/retrieval/rkd_protocol/teacher+cub/epoch_40.pth",
    ),
)
