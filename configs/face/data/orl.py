"""ORL (AT&T) faces: 20 people to train on, 19 others to measure. The student, for 2 cores.

`kdkit face align FOLDER CONFIG` makes the aligned faces and the rows of dlib's network, which are
the teacher; docs/face.md says where the images are from, and how to use this file for other people.
"""

_base_ = ["../../_base_/embedding.py", "../../_base_/mobilenet_v2.py"]

people = 20  # to train on
data_root = "{{$KD_DATA:data}}/orl_aligned/"
teacher_rows = {
    split: "{{$KD_DATA:data}}/orl_aligned.dlib_" + split + ".npz" for split in ("train", "test")
}

# The student: the first 14 of MobileNetV2's 19 blocks with their ImageNet weights, 0.56 million
# parameters and 128 numbers. The first three are frozen: on a CPU they take most of a backward.
# Its own loss is the cross-entropy of identities.
model = dict(
    type="kd_retrieval.Embedder",
    trunk=dict(
        type="kd_retrieval.TorchvisionTrunk",
        name="mobilenet_v2",
        checkpoint=_base_.mobilenet_v2,
        until="features.13",
    ),
    dim=128,
    criterion=dict(loss=dict(type="NormalizedSoftmaxLoss", num_classes=people, embedding_size=128)),
    training=dict(
        frozen=("trunk.features.0", "trunk.features.1", "trunk.features.2"),
        norm_eval=True,  # batch norms keep the statistics of ImageNet
    ),
)

dataset = dict(
    type="kd_retrieval.LabeledFolder",
    data_root=data_root,
    test_classes=[f"s{number}" for number in range(22, 41)],
)
train_dataloader = dict(
    batch_size=4 * min(people, 10),  # 4 images of each of 10 people
    num_workers=1,
    persistent_workers=True,
    batch_sampler=dict(samples_per_class=4, num_batches=10),
    dataset=dict(
        **dataset,
        split="trainval",  # all people to train on: the last epoch counts, none is chosen
        transforms=[
            dict(type="RandomHorizontalFlip"),
            dict(type="RandomAffine", degrees=8, translate=(0.04, 0.04), scale=(0.93, 1.07)),
            dict(type="ColorJitter", brightness=0.3, contrast=0.3),
        ],
    ),
)
test_dataloader = dict(batch_size=64, num_workers=1, dataset=dict(**dataset, split="test"))
val_dataloader = test_dataloader
test_evaluator = dict(_delete_=True, type="kd_face.metric.FaceVerification")
val_evaluator = test_evaluator

epochs = dict(student=10, teacher=10, heads=3)
schedules = {
    phase: dict(
        train_cfg=dict(max_epochs=number, val_interval=number),
        param_scheduler=[
            dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=20),
            dict(
                type="CosineAnnealingLR",
                eta_min_ratio=0.01,
                by_epoch=True,
                begin=0,
                end=number,
                convert_to_iter_based=True,
            ),
        ],
    )
    for phase, number in epochs.items()
}
train_cfg = schedules["student"]["train_cfg"]
param_scheduler = schedules["student"]["param_scheduler"]
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=5e-4, weight_decay=1e-2),
    clip_grad=dict(max_norm=10.0),
)

# The larger network with maps, which dlib's Python package does not give: the whole MobileNetV2,
# 2.4 million parameters. It learns from dlib's rows as the student does, and then teaches it.
teacher = dict(
    model,
    trunk=dict(
        type="kd_retrieval.TorchvisionTrunk", name="mobilenet_v2", checkpoint=_base_.mobilenet_v2
    ),
)
trained = {  # what other configs take up
    phase: dict(
        config=f"kdkit::face/{phase}+orl",
        checkpoint=f"work_dirs/face/{phase}+orl/epoch_{number}.pth",
    )
    for phase, number in epochs.items()
}
trained["dlib"] = dict(
    config=dict(type="kd_retrieval.StoredEmbeddings", file=teacher_rows["train"]), checkpoint=None
)

layers = dict(
    low="trunk.features.3",
    mid=["trunk.features.6", "trunk.features.10"],
    high="trunk.features.13",
)
stages = ["trunk.features.3", "trunk.features.6", "trunk.features.10", "trunk.features.13"]
teacher_stages = ["trunk.features.3", "trunk.features.6", "trunk.features.13", "trunk.features.18"]
# The authors' schedule for 200 epochs, at the same shares of 10: 60, 160 and 30 of 200.
ccskd = dict(start=3, decay=[3, 8], every=2)
# Weight of channel distillation in CCSKD and MSKD-SSR. The methods' 6 made it over 20 times the
# task's loss at the first step on these maps, most of which have no ReLU; this makes it about as
# large.
channel = 0.3
# Each term as large as the task at the first step on orl_val, by kdkit calibrate --share 0.5; tried
# at no others.
tuned = dict(
    cosine=dict(weight=6.6),
    distance=dict(weight=8.3),
    angle=dict(weight=5.1),
    hmat=dict(
        weight=4.6,  # with the larger network as ImageNet left it
        teacher_layers=dict(
            low="trunk.features.3",
            mid=["trunk.features.6", "trunk.features.13"],
            high="trunk.features.17",
        ),
    ),
)
