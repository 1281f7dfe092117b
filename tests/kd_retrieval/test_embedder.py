import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from torch import nn

from kd_retrieval import Embedder

TRUNK = dict(type="kd_retrieval.TimmTrunk", name="resnet18", options=dict(channels=(4, 4, 8, 8)))
TRIPLET = dict(loss=dict(type="TripletMarginLoss", margin=0.2))


def embedder(**changes):
    torch.manual_seed(0)
    return MODELS.build(
        ConfigDict(type="kd_retrieval.Embedder", **{"trunk": TRUNK, "dim": 6, **changes})
    )


def images(count=8):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_tensor_mode_is_trunk_pool_projection_and_unit_length():
    model = embedder().eval()
    with torch.no_grad():
        vectors = model(images())
        by_hand = model.projection(model.trunk(images()).mean(dim=(2, 3)))
    assert vectors.shape == (8, 6) and model.dim == 6
    assert torch.allclose(vectors.norm(dim=1), torch.ones(8))
    assert torch.allclose(vectors, by_hand / by_hand.norm(dim=1, keepdim=True), atol=1e-6)


def test_without_projection_and_unit_length():
    model = embedder(dim=None, normalize=False, pooling="max").eval()
    with torch.no_grad():
        assert torch.equal(model(images()), model.trunk(images()).amax(dim=(2, 3)))
    assert model.dim == 8


def test_pooling_takes_options_and_a_trunk_may_be_a_module():
    model = Embedder(embedder().trunk, pooling=dict(kind="gem", power=2.0))
    assert model.pool.power.item() == 2.0
    assert model(images()).shape == (8, 8)


def test_loss_mode():
    model = embedder(criterion=TRIPLET)
    labels = torch.arange(8) % 2
    result = model(images(), labels=labels, mode="loss")
    assert set(result) == {"loss_metric"}
    assert torch.equal(result["loss_metric"], model.criterion(model(images()), labels))
    result["loss_metric"].backward()
    assert all(p.grad is not None for p in model.parameters())


def test_predict_mode_keeps_what_identifies_an_image():
    model = embedder().eval()
    labels, ids, roles = torch.tensor([3, 2**53 + 1]), torch.tensor([2**60 + 1, 7]), [1, 2]
    found = model(images(2), labels=labels, ids=ids, roles=torch.tensor(roles), mode="predict")
    assert [(one["label"], one["id"], one["role"]) for one in found] == [
        (3, 2**60 + 1, 1), (2**53 + 1, 7, 2),
    ]  # fmt: skip
    assert torch.equal(torch.stack([one["embedding"] for one in found]), model(images(2)))
    assert all(not one["embedding"].requires_grad for one in found)
    many = model(images(2), labels=[[1, 2], [3]], ids=ids, mode="predict")
    assert [one["label"] for one in many] == [[1, 2], [3]] and many[0]["role"] == 0


def test_a_train_step_of_mmengine():
    from mmengine.optim import OptimWrapper

    model = embedder(criterion=TRIPLET)
    before = model.projection.weight.clone()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0))
    batch = dict(
        inputs=torch.randint(0, 255, (8, 3, 32, 32), dtype=torch.uint8),
        labels=torch.arange(8) % 2, ids=torch.arange(8), roles=torch.zeros(8, dtype=torch.int64),
    )  # fmt: skip
    log = model.train_step(batch, wrapper)
    assert log["loss"] == log["loss_metric"]
    assert not torch.equal(before, model.projection.weight)
    assert len(model.eval().test_step(batch)) == 8


def test_frozen_parts_and_batch_norms():
    model = embedder(criterion=TRIPLET, training=dict(frozen=["trunk.layer1"], norm_eval=True))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # timm starts the last one of each branch at 0
    state = {key: value.clone() for key, value in model.trunk.state_dict().items()}
    model.train()
    model(images(), labels=torch.arange(8) % 2, mode="loss")["loss_metric"].backward()
    assert all(p.grad is None for p in model.trunk.layer1.parameters())
    assert model.trunk.layer2[0].conv1.weight.grad.abs().sum() > 0
    assert all(torch.equal(state[key], value) for key, value in model.trunk.state_dict().items())
    assert not model.trunk.layer1.training and model.trunk.layer2.training
    moving = embedder(criterion=TRIPLET).train()
    moving(images())
    assert not torch.equal(moving.trunk.bn1.running_mean, torch.zeros(4))


def test_a_trunk_trained_in_bfloat16_embeds_in_float32():
    model = embedder(criterion=TRIPLET, training=dict(precision="bfloat16")).train()
    seen = []
    model.trunk.register_forward_hook(lambda *args: seen.append(args[2].dtype))
    result = model(images(), labels=torch.arange(8) % 2, mode="loss")
    assert result["loss_metric"].dtype == torch.float32
    model.eval()(images())
    assert seen == [torch.bfloat16, torch.float32]


def test_init_weights_keeps_a_trunks_weights():
    model = embedder()
    before = model.trunk.conv1.weight.clone()
    model.init_weights()
    assert torch.equal(before, model.trunk.conv1.weight)


def test_the_preprocessor_normalizes():
    model = embedder()
    gray = dict(inputs=torch.full((1, 3, 4, 4), 123, dtype=torch.uint8))
    found = model.data_preprocessor(gray, False)["inputs"]
    expected = torch.tensor([(123 - 123.675) / 58.395, (123 - 116.28) / 57.12,
                             (123 - 103.53) / 57.375])  # fmt: skip
    assert torch.allclose(found[0, :, 0, 0], expected)
    own = embedder(data_preprocessor=nn.Identity())
    assert isinstance(own.data_preprocessor, nn.Identity)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(criterion=dict(los=1)), r"criterion must be dict\(loss=, miner=\)"),
        (dict(criterion=dict(loss=dict(type="ProxyAnchorLoss", num_classes=2,
                                       embedding_size=5))), "Set its embedding_size to 6"),
        (dict(training=dict(freeze=1)), "takes frozen, norm_eval and precision"),
        (dict(training=dict(precision="float16")), "precision .None or 'bfloat16'."),
        (dict(training=dict(frozen="trunk.layer9")), "must name parts of the embedder"),
        (dict(pooling="mean"), "pooling must be one of"),
        (dict(pooling="token"), "this trunk has none"),
        (dict(trunk=dict(type="kd_retrieval.TimTrunk")), "kd_retrieval.TimmTrunk .*TimTrunk"),
        (dict(trunk=nn.Conv2d(3, 4, 3)), "num_features.*that of Conv2d is None"),
    ],
)  # fmt: skip
def test_wrong_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        embedder(**changes)


class Tokens(nn.Module):
    """Four tokens of size 6 of each image; the first ones are not positions."""

    num_features = 6

    def __init__(self, prefix, features=6):
        super().__init__()
        self.num_prefix_tokens, self.features = prefix, features

    def forward(self, images):
        return torch.arange(4.0).reshape(1, 4, 1).expand(len(images), 4, self.features)


@pytest.mark.parametrize(("prefix", "mean"), [(0, 1.5), (1, 2.0), (2, 2.5)])
def test_a_trunk_says_which_tokens_are_no_positions(prefix, mean):
    vectors = Embedder(Tokens(prefix), normalize=False)(images(2))
    assert torch.equal(vectors, torch.full((2, 6), mean))


def test_a_trunk_that_returns_other_features_than_it_says():
    with pytest.raises(ValueError, match="must return 6 features.*after pooling there are 5"):
        Embedder(Tokens(0, features=5), dim=3)(images(2))


def test_labels_in_columns_are_refused():
    """Two images with two labels each, as default_collate turns them."""
    columns = [torch.tensor([1, 3]), torch.tensor([2, 4])]
    with pytest.raises(ValueError, match="collate_fn=dict.type='kd_retrieval.collate'."):
        embedder()(images(2), labels=columns, ids=torch.arange(2), mode="predict")


def test_wrong_calls():
    model = embedder()
    with pytest.raises(ValueError, match="mode must be tensor, loss or predict"):
        model(images(2), mode="feature")
    with pytest.raises(ValueError, match="needs labels and ids"):
        model(images(2), mode="predict")
    with pytest.raises(ValueError, match="needs a criterion or a teacher"):
        model(images(2), labels=torch.zeros(2, dtype=torch.int64), mode="loss")
    with pytest.raises(ValueError, match="one label for each image"):
        embedder(criterion=TRIPLET)(images(2), labels=[[1], [2, 3]], mode="loss")
