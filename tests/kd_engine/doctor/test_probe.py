"""Images to look at a model with, and one run that changes nothing."""

import torch
from mmengine.config import Config
from torch import nn

from kd_engine.doctor.probe import probe_images, random_images, run_once, size_of_test_images


def test_random_images_are_always_the_same():
    first, again = random_images(3, (20, 30)), random_images(3, (20, 30))
    assert first.dtype == torch.uint8 and first.shape == (3, 3, 20, 30)
    assert torch.equal(first, again) and first.float().std() > 20
    assert not torch.equal(first[0], first[1])


def test_without_test_data_they_are_random():
    images, text = probe_images(Config(dict(model=dict())), 2, (16, 24))
    assert images.shape == (2, 3, 16, 24) and "no test_dataloader" in text
    gone = dict(dataset=dict(type="NoSuch", data_root="no/such/folder"))
    images, text = probe_images(Config(dict(model=dict(), test_dataloader=gone)), 2)
    assert images.shape == (2, 3, 128, 128) and "no/such/folder is missing" in text


def test_their_size_is_the_last_that_the_transforms_name():
    def size(*transforms, **model):
        loader = dict(dataset=dict(transforms=list(transforms)))
        return size_of_test_images(Config(dict(model=model, test_dataloader=loader)))

    assert size(dict(type="Resize", size=40), dict(type="CenterCrop", size=[32, 24])) == (32, 24)
    assert size(dict(type="Resize", size=40)) == (40, 40)
    assert size(dict(type="RandomHorizontalFlip"), dry_run_size=(48, 64)) == (48, 64)
    assert size(dict(type="RandomHorizontalFlip"), image_size=28) == (28, 28)


def test_one_run_leaves_modes_and_statistics_alone():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout()).train()
    model[1].eval()
    seen = []
    model.register_forward_hook(lambda _, args, output: seen.append((args[0].shape, output)))
    run_once(model, (5, 6))
    assert model.training and model[0].training and not model[1].training
    assert model[0].num_batches_tracked == 0
    assert seen[0][0] == (2, 3, 5, 6) and not seen[0][1].requires_grad
