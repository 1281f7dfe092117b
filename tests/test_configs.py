"""Every config builds, names things that exist, and is listed."""

import copy
import functools
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import kd_cls  # noqa: F401
import kd_det  # noqa: F401  first: mmdet asks for mmcv's operators
import kd_retrieval  # noqa: F401

# isort: split
from mmdet.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    LOOPS,
    METRICS,
    MODELS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    TRANSFORMS,
    VISBACKENDS,
    VISUALIZERS,
)
from mmdet.utils import register_all_modules
from mmengine.config import ConfigDict
from mmengine.registry import FUNCTIONS

from kd_core import Distiller
from kd_engine.config.file import ConfigError, read_config
from kd_engine.data.transforms import build_transforms
from kd_engine.entry_points import package_of
from kd_engine.run.first_training import FirstTraining
from kd_engine.run.prerequisites import references_of
from kd_engine.work_dir.default import default_work_dir
from kd_retrieval.embeddings.stored import EmbeddingKey, Embeddings, write_embeddings

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "configs"
FILES = sorted(FOLDER.rglob("*.py"))
BASES = [path for path in FILES if "_base_" in path.parts]
DATASETS_OF = {}  # a folder of methods: its datasets
for _path in FILES:
    if _path.parent.name == "data":
        DATASETS_OF.setdefault(_path.parents[1], []).append(_path)
SETS = [path for paths in DATASETS_OF.values() for path in paths]
CONFIGS = [path for path in FILES if path not in BASES and path not in SETS]
# Each method on each dataset, and what runs as it stands.
NAMES = [
    str((path.parent / name).relative_to(ROOT))
    for path in CONFIGS
    for name in [f"{path.stem}+{one.stem}" for one in DATASETS_OF.get(path.parent, ())]
    or [path.name]
    # The variants to choose on differ from their set in the split alone: one method will do.
    if not name.endswith("_val") or path.stem in ("teacher", "hmat")
]
WITHOUT = {  # what a method needs and a dataset lacks
    "configs/cls/ccskd+cifar100": "ccskd",
    "configs/cls/ccskd+cifar100_resnet20": "ccskd",
    "configs/cls/takd+cifar100": "assistant",
    "configs/cls/takd+cifar100_resnet18": "assistant",
    "configs/cls/takd+cifar100_resnet20": "assistant",
    "configs/cls/takd+caltech100_lite": "network",
    "configs/cls/dgkd+cifar100": "assistant",
    "configs/cls/dgkd+cifar100_resnet18": "assistant",
    "configs/cls/dgkd+cifar100_resnet20": "assistant",
    "configs/cls/dgkd+caltech100_lite": "network",
    "configs/cls/ofd+cifar100": "ofd",
    "configs/cls/ofd+cifar100_resnet18": "ofd",
    "configs/cls/ofd+cifar100_resnet20": "ofd",
    "configs/cls/ofd+caltech100_lite": "norms",
    "configs/cls/simkd+caltech100_lite": "channels",
    "configs/retrieval/camkd+caltech100": "student",
    "configs/retrieval/camkd+caltech100_lite": "student",
    "configs/retrieval/dml+caltech100": "peer",  # its teacher is not trained
    "configs/retrieval/ckd_mkt+caltech100": "student",
    "configs/retrieval/dml+caltech100_lite": "peer",
    "configs/retrieval/ckd_mkt+caltech100_lite": "student",
}
NAMES = [name for name in NAMES if name not in WITHOUT]
UNTRAINED = {  # evaluated as they are
    f"kdkit::retrieval/teacher+caltech100{variant}" for variant in ("", "_lite", "_lite_val")
}
CLASSES = {"CUB200": 100, "Cars196": 98, "Caltech100": 50, "Omniglot": 136, "BuiltInDigits": 6,
           "kd_cls.BuiltInDigits": 10, "kd_cls.FashionMNIST": 10, "kd_cls.Caltech100": 100,
           "kd_cls.CIFAR100": 100}  # fmt: skip
REGISTRIES = {
    "dataset": DATASETS, "datasets": DATASETS, "unlabeled": DATASETS,
    "collate_fn": FUNCTIONS, "pipeline": TRANSFORMS, "transforms": TRANSFORMS,
    "train_pipeline": TRANSFORMS, "test_pipeline": TRANSFORMS,
    "sampler": DATA_SAMPLERS, "batch_sampler": DATA_SAMPLERS, "val_evaluator": METRICS,
    "test_evaluator": METRICS, "default_hooks": HOOKS, "custom_hooks": HOOKS, "train_cfg": LOOPS,
    "val_cfg": LOOPS, "test_cfg": LOOPS, "optim_wrapper": OPTIM_WRAPPERS, "optimizer": OPTIMIZERS,
    "param_scheduler": PARAM_SCHEDULERS, "visualizer": VISUALIZERS, "vis_backends": VISBACKENDS,
}  # fmt: skip
SKIPPED = (  # models are built
    "model", "student", "teacher", "peer", "assistant", "trained", "tuned", "dense",
    "log_processor", "dist_cfg",
)  # fmt: skip


@functools.cache
def load(name):
    register_all_modules()
    return read_config(name if "::" in name else str(ROOT / name))


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.chdir(ROOT)


def types(node, registry=None):
    """Yield each ``type`` below a node, and the registry that its place belongs to."""
    if _is_of_torchvision(node):
        build_transforms(node.pop("transforms", ()))  # by torchvision's names, in no registry
    if isinstance(node, list | tuple):
        for one in node:
            yield from types(one, registry)
    elif isinstance(node, dict):
        if "type" in node:
            yield registry, node["type"]
        for key, value in node.items():
            if key not in SKIPPED:
                # among the default hooks, "param_scheduler" is a hook
                yield from types(
                    value, HOOKS if registry is HOOKS else REGISTRIES.get(key, registry)
                )


def _is_of_torchvision(node):
    return isinstance(node, dict) and str(node.get("type")).startswith(("kd_retrieval.", "kd_cls."))


def without_downloads(node):
    """Take away whatever would fetch weights."""
    if isinstance(node, list):
        return [without_downloads(one) for one in node]
    if not isinstance(node, dict):
        return node
    gone = {"init_cfg"} if dict(node.get("init_cfg") or {}).get("type") == "Pretrained" else set()
    if _is_of_torchvision(node):
        gone |= {"weights", "pretrained", "new_head"}
    return {
        key: None if key == "checkpoint" else without_downloads(value)
        for key, value in node.items()
        # pretrained=dict(...) is a first phase
        if key not in gone or (isinstance(value, dict) and key != "init_cfg")
    }


def test_there_are_configs():
    needed = {"hmat_faster_rcnn", "asckd_faster_rcnn", "hmat_asckd_faster_rcnn"}
    assert needed <= {path.stem for path in CONFIGS if path.parent == FOLDER}
    methods = {path.stem for path in CONFIGS if path.parent.name == "cls"}
    singles = "kd fitnets at sp cc rkd pkt fsp vid crd dkd dist cd ickd hmat asckd".split()
    singles.append("review_kd")
    several = "dml ckd_mkt ccskd mskd_ssr ctkd byot".split()
    assert {"teacher", "student", *singles, *several} <= methods
    rows = "student hmat asckd hmat_asckd pkd hmat_pkd hmat_asckd_pkd imitation inherit".split()
    rows += ["inherit_imitation", "inherit_imitation_hmat_asckd", "fgd", "mgd", "fbkd", "review_kd"]
    assert {"teacher", *rows} <= {path.stem for path in CONFIGS if path.parent.name == "det"}
    sets = {str(path.relative_to(FOLDER).with_suffix("")) for path in SETS}
    assert sets >= {
        "cls/data/digits", "cls/data/fashion_mnist", "cls/data/caltech100", "cls/data/cifar100",
        "retrieval/data/digits", "retrieval/data/omniglot", "retrieval/data/caltech100",
        "retrieval/proxy_anchor/data/cub", "retrieval/rkd_protocol/data/cars",
        "det/data/bccd", "det/data/chess", "det/data/voc", "det/data/bccd_val",
        "det/data/chess_val", "face/data/orl", "face/data/orl_val",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_what_it_needs_first_is_saved_where_it_looks(name):
    for key, source in references_of(load(name).model):
        if _is_stored(source):
            continue
        if source.checkpoint is None or "://" in source.checkpoint:
            assert source.config in UNTRAINED or "::" in source.config
            continue
        training = FirstTraining(key, source.checkpoint, source.config)
        assert training.plan is not None and not training.problem, training.problem
        assert training.work_dir == default_work_dir(source.config)
        assert not training.names_folder and "--work-dir" not in training._command()


@pytest.mark.parametrize("path", CONFIGS + SETS, ids=lambda path: str(path.relative_to(FOLDER)))
def test_the_readme_lists_it(path):
    rows = (FOLDER / "README.md").read_text().split("\n## A config for")[0]
    assert rows.partition("## Classification")[2].count(f"]({path.relative_to(FOLDER)})") == 1


def test_the_readme_lists_nothing_else():
    links = re.findall(r"\]\(([\w/]+\.py)\)", (FOLDER / "README.md").read_text())
    assert set(links) == {str(path.relative_to(FOLDER)) for path in CONFIGS + SETS}


@pytest.mark.parametrize("name", [*NAMES, *(str(path.relative_to(ROOT)) for path in SETS)])
def test_every_type_exists(name):
    config = copy.deepcopy(load(name).to_dict())
    found = list(types(config))
    assert len(found) > 10
    lost = [
        (registry and registry.name, kind)
        for registry, kind in found
        if registry is None or registry.get(kind) is None
    ]
    assert not lost


@pytest.mark.parametrize(("name", "lacks"), WITHOUT.items())
def test_what_a_method_misses_in_a_dataset_is_named(name, lacks):
    file = Path(name.partition("+")[0]).name
    with pytest.raises(ConfigError, match=rf"{file}\.py, line \d+: '{lacks}' is not there"):
        read_config(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_model_builds(name, tmp_path):
    config = load(name)
    model = without_downloads(copy.deepcopy(config.model.to_dict()))
    for (_, source), (_, copied) in zip(
        references_of(config.model), references_of(model), strict=True
    ):
        if _is_stored(source):
            copied["config"]["file"] = _stored_rows(tmp_path / "rows.npz")
            continue
        assert (source.checkpoint is None) == (source.config in UNTRAINED)
        copied["config"] = _teacher(source.config)
    if "terms" in model and package_of(config) != "kd_cls":
        model.setdefault("dry_run_size", (64, 64))
    built = MODELS.build(ConfigDict(model))
    assert hasattr(built, "distiller") == ("student" in model)
    check = dict(kd_det=_check_detector, kd_retrieval=_check_embedder, kd_cls=_check_classifier)
    check[package_of(config)](built, config)


def _check_detector(built, config):
    if type(built).__name__ == "HeadlessDetector":  # a first phase
        assert not config.val_dataloader and "instances" not in str(config.train_dataloader)
        return
    head = built.roi_head.bbox_head if hasattr(built, "roi_head") else built.bbox_head
    assert head.num_classes == _classes(config)


def _check_classifier(built, config):
    built.eval()
    size = built.image_size or (64, 64)
    known = CLASSES[config.train_dataloader.dataset.type]
    with torch.no_grad():
        assert built(torch.zeros(2, 3, *size)).shape == (2, known)
    if isinstance(getattr(built, "distiller", None), Distiller):
        of = {one.model.num_classes for one in built.distiller.teachers.values()}
        assert of == {known}  # other methods check it


def _check_embedder(built, config):
    side = 224 if type(built.trunk).__name__ == "VisionTransformer" else 64
    built.eval()
    with torch.no_grad():
        assert built(torch.zeros(2, 3, side, side)).shape == (2, built.dim)
    name = config.train_dataloader.dataset.type.split(".")[-1]
    known = config.people if name == "LabeledFolder" else CLASSES[name]
    assert getattr(built.criterion, "num_classes", None) in (None, known)


def _is_stored(source):
    """Return whether a teacher is a file of embeddings, which another command makes."""
    return isinstance(source.config, dict) and source.config["type"].endswith("StoredEmbeddings")


def _stored_rows(path):
    numbers = np.arange(2)
    write_embeddings(
        path,
        Embeddings(vectors=np.eye(2, 128, dtype=np.float32), labels=numbers, ids=numbers,
                   roles=0 * numbers, paths=("a", "b"), class_names=("a", "b"),
                   key=EmbeddingKey()),
    )  # fmt: skip
    return str(path)


def _teacher(source):
    return without_downloads(copy.deepcopy(load(source).model.to_dict()))


def _classes(config):
    dataset = config.val_dataloader.dataset
    if "metainfo" in dataset:
        return len(dataset.metainfo.classes)
    return {"CocoDataset": 80, "VOCDataset": 20}[dataset.type]


OF_DETECTORS = [
    name for name in NAMES if not {"retrieval", "cls", "face"} & set(Path(name).parts)
    and Path(name).stem.startswith(
        ("hmat", "asckd", "pkd", "imit", "inherit", "distilled", "fgd", "mgd", "fbkd", "review_kd",
         "response", "crosskd")
    )
]  # fmt: skip


@pytest.mark.parametrize("name", OF_DETECTORS)
def test_the_teacher_knows_the_same_classes(name):
    config = load(name)
    teacher = _teacher(config.model.teacher.config)
    head = teacher.get("roi_head", teacher)["bbox_head"]
    assert head["num_classes"] == _classes(config)
