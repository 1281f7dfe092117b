"""A classifier distilled by mmengine's Runner: python examples/classifier.py."""

import argparse
import tempfile

from mmengine.config import Config
from mmengine.runner import Runner

import kd_cls  # noqa: F401  its types are built by name

NETWORK = dict(type="kd_cls.CifarNetwork", num_classes=10)
TEACHER = dict(type="kd_cls.Classifier", network=dict(NETWORK, name="resnet20"))
STUDENT = dict(type="kd_cls.Classifier", network=dict(NETWORK, name="resnet8"))


def loader(split, shuffle):
    """Return the settings of a data loader: handwritten digits that come with scikit-learn."""
    return dict(
        batch_size=64,
        dataset=dict(type="kd_cls.BuiltInDigits", split=split),
        sampler=dict(type="DefaultSampler", shuffle=shuffle),
        collate_fn=dict(type="default_collate"),
    )


def train(model, steps, folder):
    """Train a model, print its accuracy, and return the path of its checkpoint."""
    common = dict(default_scope="mmengine", work_dir=folder, log_level="ERROR")
    settings = dict(
        common,
        model=model,
        train_dataloader=loader("trainval", shuffle=True),
        train_cfg=dict(type="IterBasedTrainLoop", max_iters=steps),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.05, momentum=0.9)),
        test_dataloader=loader("test", shuffle=False),
        test_cfg=dict(type="TestLoop"),
        test_evaluator=dict(type="kd_cls.ClassificationMetric"),
        default_hooks=dict(checkpoint=dict(type="CheckpointHook", interval=steps, by_epoch=False)),
        randomness=dict(seed=0),
    )
    runner = Runner.from_cfg(Config(settings))
    runner.train()
    print({name: round(value, 2) for name, value in runner.test().items()})
    return f"{folder}/iter_{steps}.pth"


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=120, help="of each training (%(default)s)")
steps = parser.parse_args().steps

with tempfile.TemporaryDirectory() as folder:
    print("teacher, a ResNet-20:")
    checkpoint = train(TEACHER, steps, f"{folder}/teacher")
    print("student alone, a ResNet-8:")
    train(STUDENT, steps, f"{folder}/student")
    print("student with the teacher:")
    kd = dict(loss=dict(type="kd_core.losses.SoftTargetLoss"), layers="logits")
    model = dict(type="kd_cls.DistilledClassifier", student=STUDENT, terms=dict(kd=kd),
                 teacher=dict(config=TEACHER, checkpoint=checkpoint))  # fmt: skip
    train(model, steps, f"{folder}/distilled")
