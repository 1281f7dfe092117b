import pytest
import torch

from kd_retrieval.pooling import POOLINGS, Pooling, UnitLength


def features():
    return torch.randn(3, 5, 4, 6, generator=torch.Generator().manual_seed(0))


def test_by_hand():
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    assert Pooling("average")(maps).item() == 3.0
    assert Pooling("max")(maps).item() == 6.0
    assert Pooling("average_max")(maps).item() == 9.0
    expected = ((1 + 8 + 27 + 216) / 4) ** (1 / 3)
    assert Pooling("gem")(maps).item() == pytest.approx(expected, rel=1e-6)


def test_gem_lies_between_average_and_max():
    maps = features().abs()
    assert torch.allclose(Pooling("gem", power=1.0)(maps), Pooling("average")(maps), atol=1e-6)
    assert torch.allclose(Pooling("gem", power=200.0)(maps), Pooling("max")(maps), rtol=0.05)


def test_the_power_of_gem_is_trained_even_on_zeros():
    pool = Pooling("gem")
    maps = torch.zeros(2, 3, 4, 4, requires_grad=True)
    pool(maps).sum().backward()
    assert pool.power.grad is not None
    assert torch.isfinite(pool.power.grad) and torch.isfinite(maps.grad).all()


def test_gem_grows_with_its_power_and_does_not_overflow():
    maps = 100 * features().abs()  # 100^20 is beyond float32
    pooled = [Pooling("gem", power=power)(maps) for power in (1.0, 3.0, 20.0, 200.0)]
    assert all((more > less).all() for less, more in zip(pooled, pooled[1:], strict=False))
    assert (pooled[-1] <= Pooling("max")(maps)).all()


def test_gem_has_the_gradients_of_its_formula():
    maps = features().abs().double().add(0.1).requires_grad_()
    pool = Pooling("gem", power=2.5).double()
    assert torch.autograd.gradcheck(pool, (maps,))
    pool(maps).sum().backward()
    with torch.no_grad():
        sums = []
        for power in (2.5 + 1e-5, 2.5 - 1e-5):
            pool.power.fill_(power)
            sums.append(pool(maps).sum().item())
    assert pool.power.grad.item() == pytest.approx((sums[0] - sums[1]) / 2e-5, rel=1e-6)


@pytest.mark.parametrize("kind", [kind for kind in POOLINGS if kind != "token"])
def test_tokens_are_pooled_without_the_class_token(kind):
    maps = features().abs()
    patches = maps.flatten(2).transpose(1, 2)
    tokens = torch.cat([torch.full((3, 1, 5), 1e3), patches], dim=1)
    assert torch.allclose(Pooling(kind)(tokens), Pooling(kind)(maps))


def test_token_takes_the_class_token():
    tokens = torch.randn(2, 7, 4)
    assert torch.equal(Pooling("token")(tokens), tokens[:, 0])


def test_unit_length():
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert torch.allclose(UnitLength()(vectors), torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    half = torch.full((1, 4), 300.0, dtype=torch.float16)  # its squares overflow float16
    assert torch.allclose(UnitLength()(half), torch.full((1, 4), 0.5))


@pytest.mark.parametrize(
    ("kind", "shape", "message"),
    [
        ("token", (2, 3, 4, 4), "Use 'token' for transformers"),
        ("average", (2, 3), r"takes a feature map \(N, C, H, W\)"),
    ],
)
def test_wrong_shapes(kind, shape, message):
    with pytest.raises(ValueError, match=message):
        Pooling(kind)(torch.zeros(shape))


def test_wrong_settings():
    with pytest.raises(ValueError, match="one of average, max, average_max, gem, token"):
        Pooling("mean")
    with pytest.raises(ValueError, match="this trunk has none. Use 'average'"):
        Pooling("token", prefix=0)
    with pytest.raises(ValueError, match="above 0, but it is 0"):
        Pooling("gem", power=0)
    with pytest.raises(ValueError, match="above 0, but it is nan"):
        Pooling("gem", power=float("nan"))
    with pytest.raises(ValueError, match="finite, but it is inf"):
        Pooling("gem", power=float("inf"))
