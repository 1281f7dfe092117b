"""Caltech-101 for retrieval: 50 classes to train on, 50 others to search. The student, for 2 cores.

docs/retrieval_data.md says how the set is made from its public source.
"""

_base_ = ["../../_base_/embedding.py", "../../_base_/mobilenet_v2.py"]

# The student: the first 12 of the teacher's 19 blocks with their ImageNet weights, 318,000
# parameters of 2,224,000. The first three are frozen: on a CPU they take most of a backward.
model = dict(
    type="kd_retrieval.Embedder",
    trunk=dict(
        type="kd_retrieval.TorchvisionTrunk",
        name="mobilenet_v2",
        checkpoint=_base_.mobilenet_v2,
        until="features.11",
    ),
    dim=128,
    criterion=dict(loss=dict(type="ContrastiveLoss", pos_margin=0.2, neg_margin=1.0)),
    training=dict(
        frozen=("trunk.features.0", "trunk.features.1", "trunk.features.2"),
        norm_eval=True,  # batch norms keep the statistics of ImageNet
        precision="bfloat16",
    ),
)

dataset = dict(type="kd_retrieval.Caltech100", data_root="{{$KD_DATA:data}}/caltech100/")
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    batch_sampler=dict(samples_per_class=4),
    dataset=dict(
        **dataset,
        split="trainval",  # all 50 training classes: the last epoch counts, none is chosen
        transforms=[
            dict(
                type="RandomResizedCrop", size=96, scale=(0.3, 1.0)
            ),  # objects look larger than in
            # the test's 128: at 96 a step takes half the time (Touvron et al., NeurIPS 2019)
            dict(type="RandomHorizontalFlip"),
        ],
    ),
)
test_dataloader = dict(
    batch_size=64,
    num_workers=1,
    dataset=dict(
        **dataset,
        split="test",
        transforms=[dict(type="Resize", size=136), dict(type="CenterCrop", size=128)],
    ),
)
val_dataloader = test_dataloader

max_epochs = 6
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=5e-4, weight_decay=1e-2),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=20),
    dict(
        type="CosineAnnealingLR",
        eta_min_ratio=0.01,
        by_epoch=True,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]

# The teacher is evaluated as it is: nothing of it is trained.
teacher = dict(
    type="kd_retrieval.Embedder",
    trunk=dict(
        type="kd_retrieval.TorchvisionTrunk",
        name="mobilenet_v2",
        checkpoint=_base_.mobilenet_v2,
    ),
)
schedules = dict(teacher=dict(train_cfg=train_cfg, param_scheduler=param_scheduler))
trained = dict(
    teacher=dict(
        config="kdkit::retrieval/teacher+caltech100", checkpoint=None, precision="bfloat16"
    ),
)

layers = dict(
    low="trunk.features.3",
    mid=["trunk.features.6", "trunk.features.10"],
    high="trunk.features.11",
)
# Chosen on the training classes only (docs/results.md).
tuned = dict(
    hmat=dict(
        teacher_layers=dict(
            low="trunk.features.3",
            mid=["trunk.features.6", "trunk.features.13"],
            high="trunk.features.17",
        ),
    ),
    asckd=dict(
        loss=dict(type="kd_core.losses.ASCKDLoss", loss_weight=5.0),
        teacher_layers=["trunk.features.6", "trunk.features.13", "trunk.features.17"],
    ),
)
