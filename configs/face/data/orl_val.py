"""ORL to choose on: 16 of the people to train on against the other 4; the test stays unseen."""

_base_ = "orl.py"

people = 16
teacher_rows = {
    split: "{{$KD_DATA:data}}/orl_aligned.dlib_val_" + split + ".npz" for split in ("train", "test")
}
model = dict(criterion=dict(loss=dict(num_classes=people)))
teacher = dict(criterion=dict(loss=dict(num_classes=people)))
train_dataloader = dict(dataset=dict(split="train"))
test_dataloader = dict(dataset=dict(split="val"))
val_dataloader = test_dataloader
trained = {
    phase: dict(
        config=f"kdkit::face/{phase}+orl_val",
        checkpoint=f"work_dirs/face/{phase}+orl_val/epoch_{number}.pth",
    )
    for phase, number in _base_.epochs.items()
}
trained["dlib"] = dict(
    config=dict(type="kd_retrieval.StoredEmbeddings", file=teacher_rows["train"]), checkpoint=None
)
