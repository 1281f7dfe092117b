"""Chess pieces: the images of the training part without their annotations, then with them."""

_base_ = "../../data/chess.py"

unlabeled = dict(
    type="kd_det.UnlabeledImages",
    data_root=_base_.data_root,
    data_prefix=dict(img="train/"),
    pipeline=[
        dict(type="LoadImageFromFile"),
        dict(type="Resize", scale=_base_.size, keep_ratio=True),
        dict(type="RandomFlip", prob=0.5),
        dict(type="PackDetInputs"),
    ],
)
phase_epochs = 12
first_phase = "work_dirs/det/unlabeled/distill+chess/epoch_12.pth"
