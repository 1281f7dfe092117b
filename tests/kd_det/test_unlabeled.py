"""A phase on images without annotations, and the detector that starts from it."""

import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from PIL import Image

import kd_det
from kd_engine.weights.pretrained import use_strict_pretrained


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    for number, size in enumerate([(64, 48), (48, 64), (64, 64), (64, 64)]):
        path = tmp_path / "images" / "sub" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(256, size=(*size, 3), dtype=np.uint8)).save(path)
    return tmp_path


def dataset(root, **options):
    pipeline = [
        dict(type="LoadImageFromFile"),
        dict(type="RandomFlip", prob=0.5),
        dict(type="PackDetInputs"),
    ]
    config = dict(type="kd_det.UnlabeledImages", data_root=str(root), pipeline=pipeline)
    return {**config, **options}


def phase(tiny, layers="neck[0:4]", neck=True):
    plain = tiny.faster_rcnn()
    parts = {key: plain[key] for key in ("backbone", "data_preprocessor", "neck")[: 2 + neck]}
    loss = dict(type="kd_core.losses.FeatureImitationLoss")
    terms = dict(a=dict(loss=loss, layers=layers, teacher_layers="backbone[0:4]"))
    config = tiny.distilled(student=dict(type="kd_det.HeadlessDetector", **parts), terms=terms)
    return {**config, "teacher": dict(backbone=tiny.backbone(12))}


def test_a_folder_trains_the_neck_that_the_detector_starts_from(tiny, folder, tmp_path):
    work = tmp_path / "work"
    loader = dict(
        batch_size=2,
        num_workers=0,
        dataset=dataset(folder),
        sampler=dict(type="DefaultSampler", shuffle=True),
        batch_sampler=dict(type="AspectRatioBatchSampler"),
    )
    runner = tiny.runner(phase(tiny), work, 2)
    before = {key: value.clone() for key, value in runner.model.state_dict().items()}
    runner._train_dataloader = Runner.build_dataloader(loader, seed=0)
    runner.train()
    after = torch.load(work / "iter_2.pth", weights_only=False)["state_dict"]
    for key in ("backbone.conv1.weight", "neck.fpn_convs.0.conv.weight"):
        assert not torch.equal(before[key], after[key])
    config = tiny.faster_rcnn()
    for part in ("backbone", "neck"):
        config[part]["init_cfg"] = dict(
            type="Pretrained", checkpoint=str(work / "iter_2.pth"), prefix=f"{part}."
        )
    use_strict_pretrained()
    own = tiny.build(config).state_dict()  # a plain Faster R-CNN
    taken = {key for key in own if key.startswith(("backbone.", "neck."))}
    assert taken == {key for key in after if not key.startswith("distiller.")}
    assert all(torch.equal(own[key], after[key]) for key in taken)


def test_the_terms_are_all_that_trains(tiny):
    model = tiny.build(phase(tiny, "backbone[0:4]", neck=False)).train()
    losses = tiny.losses(model)
    assert set(losses) == {"loss_task", "loss_a"} and losses["loss_task"] == 0
    losses["loss_task"].backward(retain_graph=True)
    assert not any(one.grad.any() for one in model.backbone.parameters())  # 0, but not None
    losses["loss_a"].backward()
    assert model.backbone.conv1.weight.grad.any()
    with pytest.raises(ValueError, match="HeadlessDetector predicts nothing.*test_dataloader out"):
        model.eval()(torch.zeros(1, 3, 64, 64), [], mode="predict")


def test_there_is_no_task_to_weigh_a_term_against(tiny):
    config = phase(tiny)
    config["terms"]["a"]["weight"] = "auto"
    with pytest.raises(ValueError, match="term 'a' has weight='auto'.*HeadlessDetector has none"):
        tiny.build(config)


def test_a_list_leaves_out_other_images(folder):
    (folder / "names.txt").write_text("sub/2\nsub/0.png\n\n")
    images = DATASETS.build(dataset(folder, data_prefix=dict(img="images/"), ann_file="names.txt"))
    assert [images.get_data_info(i)["img_path"][-9:] for i in range(len(images))] == [
        "sub/2.png", "sub/0.png"
    ]  # fmt: skip
    assert (images.get_data_info(1)["width"], images.get_data_info(1)["height"]) == (48, 64)
    batch = pseudo_collate([images[0], images[1]])
    assert tuple(batch["inputs"][1].shape) == (3, 64, 48)
    assert "bboxes" not in batch["data_samples"][0].gt_instances


@pytest.mark.parametrize(
    ("options", "names", "message"),
    [
        (dict(data_prefix=dict(img="no")), "", "needs a folder of images, but .*no is none"),
        (dict(ann_file="names.txt"), "images/sub/7", "'images/sub/7' is that of none"),
        (dict(ann_file="names.txt"), "images/sub/1", "of images/sub/1.jpg, images/sub/1.png"),
    ],
)
def test_what_is_not_there_is_named(folder, options, names, message):
    (folder / "names.txt").write_text(names)
    Image.new("RGB", (8, 8)).save(folder / "images/sub/1.jpg")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        DATASETS.build(dataset(folder, **options))


def test_the_names_are_public():
    assert kd_det.UnlabeledImages and kd_det.HeadlessDetector
