"""The built-in digits for retrieval: 0 to 5 to train on, 6 to 9 to search. No data is needed."""

_base_ = "../../_base_/embedding.py"

# The student: ResNet-18 at an eighth of its width and less, from scratch: 138,000 parameters.
model = dict(
    type="kd_retrieval.Embedder",
    trunk=dict(
        type="kd_retrieval.TimmTrunk",
        name="resnet18",
        options=dict(channels=(8, 16, 32, 48)),
    ),
    dim=32,
    criterion=dict(loss=dict(type="ContrastiveLoss", pos_margin=0.2, neg_margin=1.0)),
)

train_dataloader = dict(
    batch_size=48,
    num_workers=0,
    batch_sampler=dict(samples_per_class=8),
    dataset=dict(
        type="kd_retrieval.BuiltInDigits",
        split="trainval",  # all 6 training classes: the last epoch counts, none is chosen
        transforms=[
            dict(type="RandomAffine", degrees=10, translate=(0.1, 0.1), scale=(0.85, 1.15)),
        ],
    ),
)
test_dataloader = dict(
    batch_size=128,
    num_workers=0,
    dataset=dict(type="kd_retrieval.BuiltInDigits", split="test"),
)
val_dataloader = test_dataloader

max_epochs = 6
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=2e-3, weight_decay=1e-2),
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

# The teacher: ResNet-18 at half its width, from scratch, 2.8 million parameters.
teacher = dict(
    model, trunk=dict(model["trunk"], options=dict(channels=(32, 64, 128, 256))), dim=None
)
schedules = dict(teacher=dict(train_cfg=train_cfg, param_scheduler=param_scheduler))
trained = dict(
    teacher=dict(
        config="kdkit::retrieval/teacher+digits",
        checkpoint="work_dirs/retrieval/teacher+digits/epoch_6.pth",
        precision="bfloat16",
    ),
    student=dict(
        config="kdkit::retrieval/student+digits",
        checkpoint="work_dirs/retrieval/student+digits/epoch_6.pth",
    ),
    peer=dict(
        config="kdkit::retrieval/teacher+digits",
        checkpoint="work_dirs/retrieval/teacher+digits/epoch_6.pth",
    ),
)
peer = teacher  # the student's peer in methods without a teacher

layers = dict(low="trunk.layer1", mid=["trunk.layer2", "trunk.layer3"], high="trunk.layer4")
