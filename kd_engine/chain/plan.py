"""Plan of a chain: the config of each link, made of one config and its ``chain``."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from kd_core.checkpoint.atomic import write_whole
from kd_engine.build import student_config, without_initial_weights
from kd_engine.compare.fingerprint import fingerprint
from kd_engine.evaluate import build_model, referred_model
from kd_engine.work_dir.checkpoint_plan import checkpoint_plan

WAYS = ("assistants", "dense", "born_again", "route")
_KEYS = {
    "assistants": {"way", "assistants"},
    "dense": {"way", "assistants", "drop"},
    "born_again": {"way", "generations"},
    "route": {"way", "checkpoints"},
}
_DIRECT = "direct"
_NUMBER = re.compile(r"(\d+)\D*$")


@dataclass(frozen=True)
class Link:
    """One training of a chain.

    Attributes:
        name: Its name; also that of its network as a teacher.
        teachers: Names of those that it learns from.
        parameters: Of its student.
        config: The whole config of its training.
        folder: Its work dir; another config never shares it.
    """

    name: str
    teachers: tuple[str, ...]
    parameters: int
    config: Config
    folder: Path

    @property
    def file(self) -> Path:
        """File of its config."""
        return self.folder.with_name(f"{self.folder.name}.py")


def plan_chain(config: Config, root: Path, seed: int | None = None) -> list[Link]:
    """Plan the links of a chain, in the order in which they are trained.

    The config is that of the direct way: a student, its teacher and terms. ``chain`` says what
    comes between:

        dict(way="assistants", assistants=[dict(name=, model=), ...])     TAKD
            teacher -> assistants, from large to small -> student
        dict(way="dense", assistants=[...], drop=0.5)                     DGKD
            the same, and each learns from all before it; each of these is left out of a step
            with this probability, but never all
        dict(way="born_again", generations=2)
            teacher -> the student's network -> the same anew -> ...; all of equal size
        dict(way="route", checkpoints=["epoch_2.pth", "epoch_4.pth"])     RCO
            the student learns from early checkpoints of the teacher's own training, one after
            another, and then from its last; each time it goes on from its own weights

    Each link has the config's terms, data and schedule, and its own weights at the start (a seed
    of its own in "born_again"). The direct way is a link, too, except in "born_again", where it is
    the first generation. The links of a seed, and their configs, are in the folder ``seed<N>``.

    Args:
        config: A run's config with ``chain``.
        root: Folder of the links.
        seed: Seed of all links; ``None`` takes the config's.

    Raises:
        ValueError: If ``chain`` is missing or wrong, or a chain is out of order: a student that is
            larger than its teacher, generations of different size, checkpoints that do not ascend.
    """
    chain = dict(config.get("chain") or {})
    way = chain.get("way")
    if way not in WAYS or set(chain) - _KEYS[way] or "teacher" not in config.get("model", {}):
        known = "; ".join(f"{name}: {', '.join(sorted(keys))}" for name, keys in _KEYS.items())
        raise ValueError(
            "a chain needs a config with a student, one teacher and chain=dict(way=...), whose "
            f"keys are, by way, {known}; but it has chain={chain}."
        )
    content = config.to_dict()
    content.pop("chain")
    content.pop("work_dir", None)
    if seed is not None:
        content["randomness"] = dict(content.get("randomness") or {}, seed=seed)
    number = (content.get("randomness") or {}).get("seed") or 0
    maker = _Maker(content, root / f"seed{number}")
    make: dict[str, Callable[[_Maker, dict[str, Any]], list[Link]]] = {
        "assistants": _assistants,
        "dense": _assistants,
        "born_again": _born_again,
        "route": _route,
    }
    return make[way](maker, chain)


class _Maker:
    """The direct config, and what makes a link of a change to it."""

    def __init__(self, content: dict[str, Any], root: Path) -> None:
        self.content, self.root = content, root.resolve()
        self.model: dict[str, Any] = content["model"]
        self.teacher: dict[str, Any] = self.model["teacher"]
        self.teacher_model = referred_model(self.teacher)
        self.count = 0

    def link(
        self, name: str, model: Mapping[str, Any], teachers: Sequence[str], **changes: Any
    ) -> Link:
        """Make a link of a model config."""
        content = copy.deepcopy(self.content) | changes | {"model": copy.deepcopy(dict(model))}
        config = Config(content)
        self.count += 1
        folder = self.root / f"{self.count}_{name}-{fingerprint(config)[:8]}"
        link = Link(name, tuple(teachers), self.size(model), config, folder)
        write_whole(link.file, config.pretty_text.encode())  # the next one's fingerprint reads it
        return link

    def size(self, model: Mapping[str, Any]) -> int:
        """Return the number of parameters of a model config's plain student."""
        plain = without_initial_weights(student_config(model))
        with torch.random.fork_rng(devices=[]):
            network = build_model(Config(self.content), plain)
        return sum(parameter.numel() for parameter in network.parameters())

    def reference(self, link: Link) -> dict[str, Any]:
        """Return a link as the teacher of another."""
        return dict(config=str(link.file), checkpoint=str(link.folder))

    def direct(self) -> Link:
        """Return the student under the teacher itself."""
        return self.link(_DIRECT, self.model, ["teacher"])


def _assistants(maker: _Maker, chain: dict[str, Any]) -> list[Link]:
    given = chain.get("assistants") or []
    names = [one.get("name") for one in given]
    taken = {"teacher", "student", _DIRECT}
    plain = all(isinstance(name, str) and name.isidentifier() for name in names)
    if not given or not plain or set(names) & taken or len(set(names)) < len(names):
        raise ValueError(
            "assistants must be a list of dict(name=, model=), whose names are words that differ "
            f"and are not teacher, student or {_DIRECT}, but they are {names}."
        )
    models = [(one["name"], one["model"]) for one in given]
    models.append(("student", student_config(maker.model)))
    sizes = [(name, maker.size(one)) for name, one in [("teacher", maker.teacher_model), *models]]
    _require_order(sizes)
    references = {"teacher": maker.teacher}
    links: list[Link] = []
    for name, student in models:
        model = dict(maker.model, student=student)
        if chain["way"] == "dense" and links:
            model.pop("teacher")
            model["teachers"] = dict(references)
            model["terms"] = _dense_terms(model["terms"], list(references), chain.get("drop", 0.5))
            teachers = list(references)
        else:
            teachers = [list(references)[-1]]
            model["teacher"] = references[teachers[0]]
        links.append(maker.link(name, model, teachers))
        references[name] = maker.reference(links[-1])
    return [*links, maker.direct()]


def _dense_terms(terms: Mapping[str, Any], teachers: Sequence[str], drop: float) -> dict[str, Any]:
    """Write each term once for each teacher, with a share of its weight, left out at random."""
    found = {}
    for name, term in terms.items():
        weight = term.get("weight", 1.0)
        if not isinstance(weight, int | float):
            raise ValueError(
                f"the teachers of a dense chain share a weight that is a number, but that of term "
                f"{name!r} is {weight!r}. Fix it, or take way='assistants'."
            )
        share = weight / len(teachers)
        given = term.get("schedule", [])
        schedules = [given] if isinstance(given, Mapping) else list(given)
        for number, teacher in enumerate(teachers):
            turn = dict(
                type="kd_core.schedules.Dropped", number=number, of=len(teachers), drop=drop
            )
            own = dict(term, teacher=teacher, weight=share, schedule=[*schedules, turn])
            found[f"{name}_{teacher}"] = own
    return found


def _born_again(maker: _Maker, chain: dict[str, Any]) -> list[Link]:
    generations = chain.get("generations", 1)
    if not isinstance(generations, int) or generations < 1:
        raise ValueError(f"generations must be 1 or more, but they are {generations!r}.")
    sizes = [maker.size(model) for model in (maker.teacher_model, maker.model)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            "born-again generations must be of equal size, but the teacher has "
            f"{sizes[0]:,} parameters and the student {sizes[1]:,}. Take the student's network, "
            "trained alone, as the teacher, or way='assistants'."
        )
    seed = (maker.content.get("randomness") or {}).get("seed") or 0
    links: list[Link] = []
    for number in range(1, generations + 1):
        before = links[-1] if links else None
        reference = maker.teacher if before is None else maker.reference(before)
        links.append(
            maker.link(
                f"generation{number}",
                dict(maker.model, teacher=reference),
                ["teacher" if before is None else before.name],
                randomness=dict(maker.content.get("randomness") or {}, seed=seed + number - 1),
            )
        )
    return links


def _route(maker: _Maker, chain: dict[str, Any]) -> list[Link]:
    names = list(chain.get("checkpoints") or [])
    numbers = [int(found[1]) for name in names if (found := _NUMBER.search(Path(name).stem))]
    if not names or len(numbers) < len(names) or sorted(set(numbers)) != numbers:
        raise ValueError(
            "checkpoints must be of the teacher's own training, from early to late, such as "
            f"['epoch_2.pth', 'epoch_4.pth'], but they are {names}."
        )
    last = Path(str(maker.teacher["checkpoint"]))
    folder = last.parent if last.suffix else last
    own = _NUMBER.search(last.stem) if last.suffix else None
    if own and int(own[1]) <= numbers[-1]:
        raise ValueError(
            f"checkpoints must come before the teacher's own, {last.name}, but they end with "
            f"{names[-1]}."
        )
    files = [*(str(folder / Path(name).name) for name in names), maker.teacher["checkpoint"]]
    links: list[Link] = []
    for number, file in enumerate(files, start=1):
        model = dict(maker.model, teacher=dict(maker.teacher, checkpoint=file))
        start = dict(load_from=_last_file(links[-1])) if links else {}
        links.append(maker.link(f"stage{number}", model, [Path(str(file)).stem], **start))
    return [*links, maker.direct()]


def _require_order(sizes: Sequence[tuple[str, int]]) -> None:
    for (first, large), (second, small) in zip(sizes, sizes[1:], strict=False):
        if small > large:
            raise ValueError(
                f"a chain goes from large to small, but {second} has {small:,} parameters and "
                f"{first}, its teacher, {large:,}. Order the assistants, or leave one out."
            )


def _last_file(link: Link) -> str:
    """Return the checkpoint that a link's training ends with."""
    plan = checkpoint_plan(link.config)
    last = None if plan is None else plan.last
    if last is None:
        raise ValueError(
            "each stage of a route starts from the last checkpoint of the one before, but the "
            "config saves none at its end. Give it a CheckpointHook that does (save_last=True)."
        )
    return str(link.folder / last)
