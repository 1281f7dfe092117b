"""Task of retrieval: a warning about unaligned spaces, dry runs, libraries."""

from unittest import mock

import pytest
import torch
from mmengine.config import Config

from kd_retrieval import Embedder, TimmTrunk
from kd_retrieval.task import TASK, check_asymmetric

EMBEDDER = dict(type="kd_retrieval.Embedder")


def config(terms, gallery="teacher.npz", where="test", several=False):
    metric = dict(type="kd_retrieval.RecallMetric", gallery=gallery)
    evaluator = [dict(type="kd_retrieval.RecallMetric"), metric] if several else metric
    model = dict(student=EMBEDDER, teacher=dict(config=EMBEDDER, checkpoint=None), terms=terms)
    return Config({"model": model, f"{where}_evaluator": evaluator})


def term(name, layers="embedding", **options):
    return dict(loss=dict(type=f"kd_core.losses.{name}"), layers=layers, **options)


DISTANCE = term("RelationalDistanceLoss")
COSINE = term("EmbeddingCosineLoss")


@pytest.mark.parametrize(
    ("terms", "warns"),
    [
        (dict(distance=DISTANCE), True),
        (dict(distance=DISTANCE, cosine=COSINE), False),
        (dict(imitation=term("FeatureImitationLoss")), False),
        (dict(imitation=term("FeatureImitationLoss", normalize="unit")), False),
        (dict(imitation=term("FeatureImitationLoss", normalize="standard")), True),
        (dict(imitation=term("EmbeddingCosineLoss", "projection")), False),
        (dict(imitation=term("FeatureImitationLoss", "trunk.layer4")), True),
        (dict(cosine=dict(COSINE, weight=0.0)), True),
        (dict(relaxed=term("RelaxedContrastiveLoss"), dark=term("DarkRankLoss")), True),
    ],
)
@pytest.mark.parametrize("where", ["val", "test"])
def test_a_teachers_gallery_needs_a_term_that_aligns(terms, warns, where):
    for several in (False, True):
        given = config(terms, where=where, several=several)
        with mock.patch("kd_retrieval.task.print_log") as log:
            assert check_asymmetric(given) == warns
        assert log.called == warns
        if warns:
            assert all(name in log.call_args.args[0] for name in terms)


def test_nothing_to_warn_of():
    assert not check_asymmetric(config(dict(distance=DISTANCE), gallery=None))
    plain = Config(dict(model=EMBEDDER, test_evaluator=dict(gallery="x.npz")))
    assert not check_asymmetric(plain)
    with mock.patch("kd_retrieval.task.print_log") as log:
        TASK.check_test(
            config(dict(distance=DISTANCE)), teacher=True
        )  # it searches its own gallery
        assert not log.called
        TASK.check_test(config(dict(distance=DISTANCE)))
        assert log.called


def test_peers_do_not_align_the_space_with_another_networks():
    model = dict(type="kd_retrieval.DML", student=EMBEDDER, peers=[EMBEDDER])
    with mock.patch("kd_retrieval.task.print_log") as log:
        assert check_asymmetric(Config(dict(model=model, test_evaluator=dict(gallery="x.npz"))))
    assert "(kd_retrieval.DML does not)" in log.call_args.args[0]


def test_a_dry_run_leaves_the_modes_and_takes_the_networks_size():
    seen = []
    for name, options, size, expected in (
        ("resnet18", dict(channels=(4, 4, 8, 8)), None, (128, 128)),
        ("resnet18", dict(channels=(4, 4, 8, 8)), (64, 96), (64, 96)),
        ("vit_tiny_patch16_224", dict(img_size=48, depth=1), None, (48, 48)),
    ):
        model = Embedder(TimmTrunk(name, options=options), training=dict(norm_eval=True)).train()
        modes = [module.training for module in model.modules()]
        model.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        state = {key: value.clone() for key, value in model.state_dict().items()}
        TASK.dry_run(model, size)
        assert seen[-1].shape == (2, 3, *expected)
        assert [module.training for module in model.modules()] == modes
        assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())


def test_the_libraries_of_retrieval():
    rows = dict(TASK.environment())
    assert rows["timm"][0].isdigit() and "pytorch-metric-learning" in rows
    with mock.patch("kd_retrieval.task._LIBRARIES", ("no-such-library",)):
        assert TASK.environment() == [
            ("no-such-library", "not installed: pip install no-such-library")
        ]
