"""Two and three processes on gloo give the numbers of one."""

import functools
import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

from kd_retrieval import RecallMetric, recall_at_k
from kd_retrieval.recall.count import RankCounter

ROOT = Path(__file__).parents[2]
IMAGES = 11


def cases():
    """Arguments of recall_at_k by name."""
    rng = np.random.default_rng(0)
    labels = rng.integers(20, size=150)
    rows = (rng.normal(size=(150, 6)) + rng.normal(size=(20, 6))[labels]).astype(np.float32)
    rows[40:60] = rows[100:120]
    parts, ids = (slice(90), slice(50, 150)), np.arange(1000, 1150)
    sides = (rows[parts[0]], labels[parts[0]], rows[parts[1]], labels[parts[1]])
    numbers = dict(query_ids=ids[parts[0]], gallery_ids=ids[parts[1]])
    several = [[int(label), 30 + i % 7] for i, label in enumerate(labels)]
    return {
        "itself": ((rows, labels), {}),
        "gallery": (sides, numbers | dict(metric="l2", ks=(1, 5))),
        "sets": ((rows, several), dict(metric="dot")),
        "collapsed": ((np.ones((80, 3)), labels[:80]), dict(count_no_positive_as_miss=True)),
    }


def measured(distributed):
    """Measure all cases, in tiles so small that every process has some."""
    results = {}
    with (
        mock.patch("kd_retrieval.recall.at_k.RankCounter", functools.partial(RankCounter, tile=16)),
        mock.patch("kd_retrieval.recall.count._POSITIVES", (8, 16)),
    ):
        for name, (given, options) in cases().items():
            result = recall_at_k(*given, **options, distributed=distributed)
            results[name] = [
                list(result.recall.values()),
                list(result.optimistic.values()),
                [result.n_valid, result.n_queries],
                result.found_at.tolist(),
            ]
    return results


def samples():
    """Predictions of an embedder for some images: only the last three find their class."""
    angles = torch.tensor([1.0, 1.1, 2.0, 2.1, 3.0, 3.1, 4.0, 4.1, 0.0, 0.1, 0.2])
    labels = [0, 1, 0, 1, 2, 3, 2, 3, 5, 5, 5]
    return [
        dict(embedding=torch.stack([angle.cos(), angle.sin()]), label=label, id=100 + i, role=0)
        for i, (angle, label) in enumerate(zip(angles, labels, strict=True))
    ]


def evaluated(rank, world):
    """Give each process its share, filled up with copies from the start as samplers do."""
    metric = RecallMetric(ks=(1, 2))
    count = -(-IMAGES // world) * world
    shares = [i % IMAGES for i in range(count)][rank::world]
    metric.process(None, [samples()[i] for i in shares])
    return metric.evaluate(IMAGES)


def work(rank, world, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store{world}", rank=rank, world_size=world
    )
    found = [measured(distributed=True), evaluated(rank, world)]
    Path(folder, f"{world}-{rank}.json").write_text(json.dumps(found), encoding="utf-8")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Results of each process of 2 and of 3."""
    folder = tmp_path_factory.mktemp("ranks")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    subprocess.run(
        [sys.executable, __file__, str(folder)], cwd=ROOT, env=environment, check=True, timeout=300
    )
    return {
        world: [json.loads((folder / f"{world}-{i}.json").read_text()) for i in range(world)]
        for world in (2, 3)
    }


@pytest.mark.parametrize("world", [2, 3])
def test_every_process_gets_the_result_of_one(found, world):
    alone = measured(distributed=False)
    assert all(0 < alone[name][0][0] < 1 for name in ("itself", "gallery", "sets"))
    for recall, _ in found[world]:
        assert recall == alone


@pytest.mark.parametrize("world", [2, 3])
def test_the_metric_leaves_out_the_copies_of_a_sampler(found, world):
    alone = evaluated(0, 1)
    # The first image, which misses, comes twice: it would find its copy.
    assert alone["recall/R@1"] == pytest.approx(100 * 3 / 11)
    assert alone["recall/queries"] == alone["recall/valid_queries"] == IMAGES
    for _, values in found[world]:
        assert values == alone


def test_the_metric_misses_an_image():
    metric = RecallMetric()
    metric.process(None, samples()[:-1])
    with pytest.raises(ValueError, match="has 11 images, but 10 different ids were embedded"):
        metric.evaluate(IMAGES)


if __name__ == "__main__":
    fork = multiprocessing.get_context("fork")  # everything is imported once
    for world in (2, 3):
        processes = [fork.Process(target=work, args=(i, world, sys.argv[1])) for i in range(world)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
        if any(process.exitcode != 0 for process in processes):
            for process in processes:
                process.kill()
            sys.exit("a process failed")
