"""The first line of every config is the command that runs it, from any folder.

Where the data is at hand, each command trains one iteration, and first what it needs. Elsewhere it
ends with exit code 1 and a message that names the data and how to get it.
"""

import os
import shlex
from pathlib import Path

import pytest
from mmengine.logging import MMLogger
from yapf.yapflib import yapf_api

from kd_engine.config.builtin import configs_folder, list_configs
from kd_engine.config.file import read_config
from kd_engine.config.text import texts_in
from kd_engine.entry_points import package_of
from kd_engine.run import child, prerequisites
from kd_engine.run.prerequisites import references_of
from kd_engine.work_dir.default import default_work_dir
from kdkit.cli import main
from kdkit.demo.digit_scenes import SceneOptions
from kdkit.demo.digit_set import make_detection_set

from .forked import forget_instances

NAMES = [one.name for one in list_configs()]
DEMO = "work_dirs/demo/data/digits"
# Of each dataset that may be at hand besides: the method that needs most before it.
OTHERS = {
    "kdkit::cls/mskd_ssr+fashion_mnist": "fashion_mnist",
    "kdkit::cls/ckd_mkt+caltech100": "caltech100",
    "kdkit::retrieval/hmat_asckd_rkd+omniglot": "omniglot",
    "kdkit::retrieval/hmat_asckd_rkd+caltech100": "caltech100",
    "kdkit::det/hmat_asckd+chess": "chess_coco",
    "kdkit::cls/kd+caltech100_lite": "caltech100, or weights",
    "kdkit::retrieval/hmat_asckd_rkd+caltech100_lite": "caltech100, or weights",
    "kdkit::det/inherit_imitation+chess_lite": "chess_coco, or weights",
}
EARLIER = {"kdkit::det/unlabeled/student.py": "kdkit::det/unlabeled/distill+bccd"}  # a phase
FETCHED = {
    "coco": "kdkit fetch coco",
    "CUB_200_2011": "kdkit fetch cub",
    "digits": "kdkit make-digits",
    "bccd_voc": "kdkit fetch bccd",
    "orl_aligned": "kdkit face align",
}


def first_line(name):
    """Return the words of a config's command; a remark in brackets may follow them."""
    first = Path(configs_folder(), name.removeprefix("kdkit::")).read_text().split("\n")[0]
    assert first.startswith(("# kdkit train ", "# kdkit chain "))
    return shlex.split(first.removeprefix("# kdkit ").split("(")[0])


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    """An empty folder, in which what must be trained first is trained once."""
    folder = tmp_path_factory.mktemp("anywhere")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("LOCAL_RANK", "0")  # the command sets it
        patch.delenv("KD_TRACEBACK", raising=False)
        if "KD_DATA" in os.environ:
            patch.setenv("KD_DATA", str(small_data(folder / "data", Path(os.environ["KD_DATA"]))))
        patch.setattr(prerequisites, "run_child", train_child)
        patch.setattr(child, "run_child", train_link)
        # each run has its config laid out five times, which takes a third of the time
        patch.setattr(yapf_api, "FormatCode", lambda text, **_: (text, True))
        yield folder


def small_data(folder, source):
    """Link to the data that is there, and to a few of the images of BCCD, which all are checked."""
    folder.mkdir()
    for path in source.iterdir():
        (folder / path.name).symlink_to(path)
    whole, few = source / "bccd_voc", folder / "bccd_voc"
    if whole.is_dir():
        few.unlink()
        (few / "ImageSets/Main").mkdir(parents=True)
        for name in ("JPEGImages", "Annotations"):
            (few / name).symlink_to(whole / name)
        for name in ("trainval", "test"):
            lines = (whole / f"ImageSets/Main/{name}.txt").read_text().splitlines()
            (few / f"ImageSets/Main/{name}.txt").write_text("\n".join(lines[:8]) + "\n")
    return folder


@pytest.fixture(autouse=True)
def forget():
    """Let no logger of mmengine outlive the test that captures its output."""
    yield
    MMLogger._instance_dict.clear()


@pytest.fixture
def trained(tmp_path, capsys):
    """Run a command; return its exit code and what it wrote about an error."""

    def run(words):
        folder = str(tmp_path / "run")
        with pytest.raises(SystemExit) as stop:
            options = one_iteration(words[1])
            if words[0] == "chain":
                options += ["train_cfg.val_begin=1", "train_cfg.val_interval=1"]  # for its table
            main([*words, "--work-dir", folder, "--cfg-options", *options])
        return stop.value.code or 0, capsys.readouterr().err

    return run


def train_child(words):
    """Train as a process of its own would, but one iteration, as if it were the whole run."""
    words = list(words[words.index("train") :])
    folder, last = Path(words[-1]), read_config(words[1]).train_cfg.max_epochs
    with pytest.raises(SystemExit) as stop:
        main([*words, "--cfg-options", *one_iteration(words[1])])
    if not stop.value.code:
        for epoch in range(2, last + 1):
            (folder / f"epoch_{epoch}.pth").hardlink_to(folder / "epoch_1.pth")
    return stop.value.code


def train_link(words):
    """Train a link of a chain as a process of its own would; it is one iteration already."""
    forget_instances()
    with pytest.raises(SystemExit) as stop:
        main(list(words[words.index("train") :]))
    return stop.value.code


def one_iteration(name):
    """Return the options of a run of one small batch; of a large dataset nothing is evaluated."""
    config = read_config(name)
    loader, task = config.train_dataloader, package_of(config)
    options = ["train_cfg.max_epochs=1", f"train_cfg.val_begin={1 if name in NAMES else 2}",
               "train_cfg.val_interval=99", "log_level=WARNING",
               "train_dataloader.num_workers=0", "train_dataloader.persistent_workers=False",
               f"train_dataloader.batch_size={1 if task == 'kd_det' else 16}"]  # fmt: skip
    if "samples_per_class" in (loader.get("batch_sampler") or {}):
        options += ["train_dataloader.batch_sampler.num_batches=1"]
    else:
        options += ["train_dataloader.num_batch_per_epoch=1"]
    if task == "kd_det" and "student" in config.model:
        options += ["model.dry_run_size=(64,64)"]
    if task == "kd_det" and "pipeline" in loader.dataset:
        places = [number for number, step in enumerate(loader.dataset.pipeline)
                  if step.type == "Resize"]  # fmt: skip
        options += [f"train_dataloader.dataset.pipeline.{place}.scale=(96,72)"
                    for place in places[:1]]  # fmt: skip
    return options


def at_hand(name):
    """Return whether all data of a config is in the folder that KD_DATA names."""
    config = read_config(name)
    loaders = [loader for key, loader in config.items() if "loader" in key and loader]
    roots = [loader.dataset.get("data_root") for loader in loaders]
    weights = {text for text in texts_in(config.to_dict()) if text.endswith(".safetensors")}
    return all(Path(path).exists() for path in {*filter(None, roots), *weights})


@pytest.mark.parametrize("name", NAMES)
def test_the_first_line_asks_for_what_must_be_trained(name):
    _, own, *options = first_line(name)
    assert own.startswith(name.removesuffix(".py"))
    before = [source for _, source in references_of(read_config(own).model)
              if source.checkpoint and "://" not in source.checkpoint]  # fmt: skip
    assert options == (["--with-teacher"] if before else [])


@pytest.mark.parametrize("name", NAMES)
def test_the_first_line_runs(name, trained, tmp_path):
    words = first_line(name)
    if "/demo/" in name.replace("::", "/") and not Path(DEMO).is_dir():
        make_detection_set(Path(DEMO), 8, 2, scene=SceneOptions(size=96))
    here = at_hand(words[1])
    if here and name in EARLIER:
        train_child(["train", EARLIER[name], "--work-dir", str(default_work_dir(EARLIER[name]))])
    code, error = trained(words)
    if here:
        last = "seed0/chain.md" if words[0] == "chain" else "epoch_1.pth"
        assert code == 0 and (tmp_path / "run" / last).is_file(), error
    else:
        assert code == 1
        message = error[error.index("error:") :]
        root = read_config(words[1]).train_dataloader.dataset.data_root
        assert root.rstrip("/") in message and FETCHED[Path(root).name] in message
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_datasets_train_an_iteration(name, trained, tmp_path):
    if not at_hand(name):
        pytest.skip(f"{OTHERS[name]} is not there; KD_DATA names the folder that holds it")
    code, error = trained(["train", name, "--with-teacher"])
    assert code == 0 and (tmp_path / "run/epoch_1.pth").is_file(), error


OWN = """# kdkit train own+digits --with-teacher
_base_ = "kdkit::cls/data/digits.py"
model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        own=dict(loss=dict(type="kd_core.losses.SimilarityPreservingLoss"), layers=_base_.pool)
    ),
)
"""


@pytest.fixture
def own_files():
    """A dataset and a method of one's own, one file each, in the current folder."""
    text = Path(configs_folder(), "cls/data/digits.py").read_text()
    text = text.replace('"../../_base_/', '"kdkit::_base_/').replace("enlarged", "own")
    text = text.replace("kdkit::cls/{phase}+digits", "kdkit::cls/{phase}+flowers.py")
    Path("flowers.py").write_text(text.replace("work_dirs/cls/{phase}+digits",
                                               "work_dirs/cls/{phase}+flowers"))  # fmt: skip
    Path("own.py").write_text(OWN)


@pytest.mark.parametrize(
    "name",
    ["kdkit::cls/mskd_ssr+flowers.py", "own+flowers.py", "own+digits", "own.py"],
)
def test_a_dataset_is_one_file_and_so_is_a_method(name, own_files, trained, tmp_path):
    code, error = trained(["train", name, "--with-teacher"])
    assert code == 0 and (tmp_path / "run/epoch_1.pth").is_file(), error
    teachers = {path.parent.name for path in Path("work_dirs/cls").glob("teacher+*/*.pth")}
    assert ("teacher+flowers" if "flowers" in name else "teacher+digits") in teachers
