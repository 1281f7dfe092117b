"""The protocol of relational knowledge distillation on CUB-200-2011: data and student.

After the authors' code (Park, Kim, Lu and Cho, CVPR 2019): images of 256 x 256, crops of 224,
5 images of each class, 100 batches an epoch. Their batches have 128 images, which 5 does not
divide; these have 125.
"""

default_scope = "mmengine"
custom_imports = dict(imports=["kd_retrieval"])

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
    sampler=dict(type="DefaultSampler", shuffle=True),
    batch_sampler=dict(
        type="kd_retrieval.MPerClassBatchSampler", samples_per_class=5, num_batches=100
    ),
    collate_fn=dict(type="kd_retrieval.collate"),
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
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="kd_retrieval.collate"),
    dataset=dict(
        **dataset,
        split="test",
        transforms=[dict(type="Resize", size=(256, 256)), dict(type="CenterCrop", size=224)],
    ),
)
val_dataloader = test_dataloader
test_evaluator = dict(type="kd_retrieval.RecallMetric", ks=(1, 2, 4, 8))
val_evaluator = test_evaluator

max_epochs = 80
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs, val_interval=max_epochs)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=1e-4, weight_decay=1e-5))
param_scheduler = [dict(type="MultiStepLR", by_epoch=True, milestones=[40, 60], gamma=0.1)]
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=2),
    logger=dict(type="LoggerHook", interval=10),
)
log_level = "INFO"
randomness = dict(seed=0)
