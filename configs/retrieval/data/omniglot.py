"""Omniglot for retrieval: 136 characters to train on, 106 of other alphabets to search.

docs/retrieval_data.md says how the set is made from its public source.
"""

_base_ = "../../_base_/embedding.py"

# The student: ResNet-18 at a quarter of its width and less, from scratch: 515,000 parameters.
model = dict(
    type="kd_retrieval.Embedder",
    trunk=dict(
        type="kd_retrieval.TimmTrunk",
        name="resnet18",
        options=dict(channels=(16, 32, 64, 96)),
    ),
    dim=128,
    criterion=dict(loss=dict(type="ContrastiveLoss", pos_margin=0.2, neg_margin=1.0)),
    training=dict(precision="bfloat16"),
)

dataset = dict(type="kd_retrieval.Omniglot", data_root="{{$KD_DATA:data}}/omniglot/")
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    batch_sampler=dict(samples_per_class=4),
    dataset=dict(
        **dataset,
        split="trainval",  # all 136 training classes: the last epoch counts, none is chosen
        transforms=[
            dict(type="Resize", size=64),
            dict(type="RandomAffine", degrees=15, translate=(0.1, 0.1), scale=(0.8, 1.2), fill=255),
        ],
    ),
)
test_dataloader = dict(
    batch_size=64,
    num_workers=1,
    dataset=dict(
        **dataset,
        split="test",
        transforms=[dict(type="Resize", size=64)],
    ),
)
val_dataloader = test_dataloader

max_epochs = 10
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=2e-3, weight_decay=1e-2),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=40),
    dict(
        type="CosineAnnealingLR",
        eta_min_ratio=0.01,
        by_epoch=True,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]

# The teacher: ResNet-18 at half its width, from scratch, 2.9 million parameters.
teacher = dict(
    model, trunk=dict(model["trunk"], options=dict(channels=(32, 64, 128, 256))), dim=256
)
schedules = dict(
    teacher=dict(
        train_cfg=dict(max_epochs=20, val_interval=20),
        param_scheduler=[
            dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=40),
            dict(
                type="CosineAnnealingLR",
                eta_min_ratio=0.01,
                by_epoch=True,
                begin=0,
                end=20,
                convert_to_iter_based=True,
            ),
        ],
    ),
)
trained = dict(
    teacher=dict(
        config="kdkit::retrieval/teacher+omniglot",
        checkpoint="work_dirs/retrieval/teacher+omniglot/epoch_20.pth",
        precision="bfloat16",
    ),
    student=dict(
        config="kdkit::retrieval/student+omniglot",
        checkpoint="work_dirs/retrieval/student+omniglot/epoch_10.pth",
    ),
    peer=dict(
        config="kdkit::retrieval/teacher+omniglot",
        checkpoint="work_dirs/retrieval/teacher+omniglot/epoch_20.pth",
    ),
)
peer = teacher  # the student's peer in methods without a teacher

layers = dict(low="trunk.layer1", mid=["trunk.layer2", "trunk.layer3"], high="trunk.layer4")
# Chosen on the training classes only (docs/results.md).
tuned = dict(
    hmat=dict(weight=0.4),  # of 1 and 0.4
)
