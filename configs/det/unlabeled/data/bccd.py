"""BCCD: the images of its training part without their annotations, then with them."""

_base_ = "../../data/bccd.py"

unlabeled = dict(
    type="kd_det.UnlabeledImages",
    data_root=_base_.data_root,
    data_prefix=dict(img="JPEGImages/"),
    ann_file="ImageSets/Main/trainval.txt",  # without it, all images of the folder
    pipeline=[
        dict(type="LoadImageFromFile"),
        dict(type="Resize", scale=_base_.size, keep_ratio=True),
        dict(type="RandomFlip", prob=[0.3, 0.3], direction=["horizontal", "vertical"]),
        dict(type="PackDetInputs"),
    ],
)
phase_epochs = 8
first_phase = "work_dirs/det/unlabeled/distill+bccd/epoch_8.pth"
