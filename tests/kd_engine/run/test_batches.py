"""A loader whose epochs have no batch is refused."""

from __future__ import annotations

from typing import Any

import pytest

from kd_engine.run.batches import check_batches

DEFAULT = dict(type="DefaultSampler")


def test_no_image_is_refused_with_any_sampler() -> None:
    for sampler in (DEFAULT, dict(type="InfiniteSampler")):
        with pytest.raises(ValueError, match="has none"):
            check_batches(dict(batch_size=2, sampler=sampler), 0)


@pytest.mark.parametrize(
    "change",
    [
        dict(drop_last=True),
        dict(batch_sampler=dict(type="AspectRatioBatchSampler", drop_last=True)),
        dict(batch_sampler=dict(type="mmdet.AspectRatioBatchSampler", drop_last=True)),
    ],
)
def test_fewer_images_than_a_batch_with_drop_last(change: dict[str, Any]) -> None:
    loader = dict(batch_size=8, sampler=DEFAULT, **change)
    with pytest.raises(ValueError, match="batch_size is 8 and there are 7 images: nothing"):
        check_batches(loader, 7)
    check_batches(loader, 8)


@pytest.mark.parametrize(
    "loader",
    [
        dict(batch_size=8, sampler=DEFAULT),
        dict(batch_size=8, sampler=DEFAULT, drop_last=False),
        dict(batch_size=8, sampler=dict(type="InfiniteSampler"), drop_last=True),
        dict(batch_size=8, sampler=DEFAULT, batch_sampler=dict(type="kd_retrieval.MPerClass")),
    ],
)
def test_a_loader_that_gives_a_batch_passes(loader: dict[str, Any]) -> None:
    check_batches(loader, 7)
    with pytest.raises(ValueError, match="training needs images"):
        check_batches(loader, 0)


def test_processes_share_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kd_engine.run.batches.get_world_size", lambda: 4)
    loader = dict(batch_size=4, sampler=DEFAULT, drop_last=True)
    check_batches(loader, 13)  # DefaultSampler gives each process 4
    with pytest.raises(ValueError, match="3 images for each of 4 processes"):
        check_batches(loader, 12)
