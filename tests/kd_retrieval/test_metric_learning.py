import pytest
import torch
from pytorch_metric_learning import losses, miners

from kd_retrieval.metric_learning import MetricLearning

LOSSES = [
    dict(type="TripletMarginLoss", margin=0.2),
    dict(type="ContrastiveLoss", pos_margin=0.0, neg_margin=0.5),
    dict(type="ProxyAnchorLoss", num_classes=4, embedding_size=6),
    dict(type="MultiSimilarityLoss"),
]
MINERS = [
    None,
    dict(type="TripletMarginMiner", margin=0.2, type_of_triplets="semihard"),
    dict(type="DistanceWeightedMiner"),
    dict(type="MultiSimilarityMiner"),
]


def batch():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(16, 6, generator=generator), dim=1)
    return vectors.requires_grad_(), torch.arange(16) % 4


@pytest.mark.parametrize("loss", LOSSES, ids=lambda one: one["type"])
@pytest.mark.parametrize("miner", MINERS, ids=lambda one: one["type"] if one else "none")
def test_each_loss_with_each_miner(loss, miner):
    torch.manual_seed(0)
    vectors, labels = batch()
    value = MetricLearning(loss, miner)(vectors, labels)
    value.backward()
    assert value.dim() == 0 and value > 0
    assert vectors.grad.abs().sum() > 0 and torch.isfinite(vectors.grad).all()


def test_it_is_what_the_library_computes():
    vectors, labels = batch()
    ours = MetricLearning(
        dict(type="TripletMarginLoss", margin=0.3, distance=dict(type="CosineSimilarity")),
        dict(type="TripletMarginMiner", margin=0.3, type_of_triplets="semihard"),
    )(vectors, labels)
    from pytorch_metric_learning.distances import CosineSimilarity

    mined = miners.TripletMarginMiner(margin=0.3, type_of_triplets="semihard")(vectors, labels)
    theirs = losses.TripletMarginLoss(margin=0.3, distance=CosineSimilarity())
    assert torch.equal(ours, theirs(vectors, labels, mined))


def test_a_batch_without_a_pair_gives_zero():
    vectors, _ = batch()
    value = MetricLearning(LOSSES[0])(vectors, torch.arange(16))
    value.backward()
    assert value == 0 and vectors.grad.abs().sum() == 0


def test_half_precision_is_computed_in_float32():
    vectors, labels = batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = MetricLearning(LOSSES[3])(vectors.bfloat16(), labels)
    assert value.dtype == torch.float32


@pytest.mark.parametrize(
    ("loss", "miner", "message"),
    [
        (dict(type="TripletLoss"), None, "it has no 'TripletLoss'. It has .*TripletMarginLoss"),
        (dict(type="TripletMarginLoss", margn=1), None, "TripletMarginLoss of pytorch-metric"),
        (LOSSES[0], dict(type="Miner"), "must have miners of that name, but it has no 'Miner'"),
        (dict(type="TripletMarginLoss", distance=dict(type="Lp")), None, "an object of that name"),
    ],
)
def test_wrong_names(loss, miner, message):
    with pytest.raises(ValueError, match=message):
        MetricLearning(loss, miner)


def test_a_label_beyond_the_proxies():
    vectors, labels = batch()
    with pytest.raises(ValueError, match="proxies for 4 classes, but a label is 13"):
        MetricLearning(LOSSES[2])(vectors, labels + 10)
