"""Distilled models from configs: a student with a teacher, or with a method's networks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from kd_core import Distiller, FrozenTeacher, GradientShares, Term
from kd_core.masks import MapMask
from kd_core.methods.base import NetworksDistiller
from kd_core.table import format_table
from kd_core.term import ONLY_TEACHER
from kd_core.terms import layers_of
from kd_engine.adapter import ModelAdapter
from kd_engine.build import build_terms, build_trained
from kd_engine.data.rescale import Rescale, rescaled
from kd_engine.network_builder import ConfigNetworkBuilder
from kd_engine.weights.inherit import inherit_later
from kd_engine.weights.teacher_classes import CLASSES, classes_by_name


def build_distilled(
    adapter: ModelAdapter,
    student: Mapping[str, Any],
    terms: Mapping[str, Mapping[str, Any]],
    teacher: Mapping[str, Any] | None = None,
    teachers: Mapping[str, Mapping[str, Any]] | None = None,
    gradient_shares: Mapping[str, Any] | None = None,
    dry_run_size: tuple[int, int] | None = None,
    inherit: Any = None,
) -> nn.Module:
    """Build a student and a frozen teacher, or several, and attach a distiller.

    The result is the student itself, of its own class: it trains, predicts, saves and exports as
    usual, and returns ``loss_<term>`` besides its own losses in training.

    Args:
        adapter: The task.
        student: Model config of the student.
        terms: Name to ``dict(loss=, layers=, teacher_layers=, weight=, schedule=, teacher=,
            normalize=, connector=, mask=)``.
        teacher: ``dict(config=, checkpoint=, allow_partial=False, precision=None)``. ``config``
            is a file, a name such as ``mmdet::...`` or a model config; ``checkpoint`` a file, URL
            or work dir, or ``None`` where the config loads its own weights; ``key`` and ``prefix``
            say which entry and which keys of it; ``precision`` "float16" or "bfloat16" runs the
            teacher's forward in it; ``scale``, a factor or (height, width), runs it on images of
            another size; ``classes`` are the student's, for a detector that knows more or others:
            see :func:`kd_engine.weights.teacher_classes.classes_by_name`.
        teachers: Instead of ``teacher``, name to such a dict; each term names its ``teacher``, or
            several: see :func:`kd_core.several_teachers.split_terms`.
        gradient_shares: ``dict(layer=, interval=50)`` logs each term's share of the gradient
            norm at one of the student's layers.
        dry_run_size: Height and width in pixels of the images of the dry run; ``None`` takes what
            suits student and teacher.
        inherit: Modules that start with the teacher's weights, such as ``["neck", "rpn_head"]``,
            or ``dict(modules=, teacher=, skip_mismatched=False)``; see
            :mod:`kd_engine.weights.inherit` for when.

    Returns:
        The student, with the distiller as its child ``distiller``.

    Raises:
        ValueError: If there is not exactly one of ``teacher`` and ``teachers``, a key of a teacher
            is unknown or missing, a layer does not exist, shapes do not fit, logits of different
            classes are compared, or an inherited module does not fit.
        kd_core.checkpoint.CheckpointError: If the teacher's checkpoint is unsafe, broken or
            does not fit.
    """
    scope = adapter.scope if DefaultScope.get_current_instance() is None else None
    with DefaultScope.overwrite_default_scope(scope):
        model: nn.Module = MODELS.build(ConfigDict(student))
        trained, precision, scale = _build_teachers(adapter, teacher, teachers)
        shares = None if gradient_shares is None else GradientShares(**gradient_shares)
        with torch.random.fork_rng(devices=[]):
            distiller = attach(
                adapter,
                model,
                trained,
                build_terms(terms),
                precision=precision,
                scale=scale,
                gradient_shares=shares,
                dry_run_size=dry_run_size,
            )
        if inherit:
            inherit_later(distiller, model, inherit)
    return model


def attach(
    adapter: ModelAdapter,
    student: nn.Module,
    teacher: nn.Module | Mapping[str, nn.Module],
    terms: Mapping[str, Term],
    *,
    precision: Mapping[str, torch.dtype | None] | None = None,
    scale: Mapping[str, Rescale | None] | None = None,
    gradient_shares: GradientShares | None = None,
    dry_run_size: tuple[int, int] | None = None,
    kind: Callable[..., Distiller] = Distiller,
) -> Distiller:
    """Attach a teacher to a student; both exist already.

    Args:
        adapter: The task.
        student: The model to train.
        teacher: The trained one, or name to each of several.
        terms: Name to term.
        precision: Name of a teacher to the autocast dtype of its forward; the name of the only
            one is "teacher".
        scale: Name of a teacher to the size of its images; ``None`` for the student's.
        gradient_shares: Where and how often to log gradient shares.
        dry_run_size: Height and width in pixels of the dry run; ``None`` takes what suits the two.
        kind: The distiller's class, or what makes one of the same arguments.

    Returns:
        The distiller.

    Raises:
        ValueError: If one of the two is not a model of the task, they take images of different
            size, or logits of different classes are compared.
    """
    models = teacher if isinstance(teacher, Mapping) else {ONLY_TEACHER: teacher}
    precision, scale = precision or {}, scale or {}
    frozen = {}
    for name, model in models.items():
        own = {n: term for n, term in terms.items() if term.teacher == name}
        frozen[name] = _freeze(adapter, student, model, own, precision.get(name), scale.get(name))
    distiller = kind(frozen, terms, gradient_shares, extra_inputs=adapter.extra_inputs)
    adapter.make_readable(student, layers_of(terms, "student"))
    same = [model for name, model in models.items() if not scale.get(name)]
    size = dry_run_size or adapter.image_size(student, *same)
    for rescale in filter(None, scale.values()):
        rescale.check_proportions(size)
    try:
        distiller.attach(
            student, adapter.arguments(size), adapter.forward(_modules(terms, "student"))
        )
    except RuntimeError as error:  # of a layer, such as one that needs a larger map
        raise ValueError(
            f"the dry run on random images of {size[0]} x {size[1]} pixels failed: {error}. Give "
            "the model dry_run_size=(height, width) of images that both networks take."
        ) from error
    try:
        for name, network in frozen.items():
            read = {n: term.teacher_layers for n, term in distiller.terms_of(name).items()}
            adapter.try_sizes(student, network, read, size)
    except ValueError:
        distiller.detach()
        raise
    print_log(f"Layers of student and teacher:\n{distiller.shape_table}", "current")
    return distiller


def model_type(
    method: type[NetworksDistiller], adapter: ModelAdapter, package: str
) -> Callable[..., nn.Module]:
    """Make a type of a config's ``model`` out of a method: what its ``from_config`` takes.

    Args:
        method: One of :mod:`kd_core.methods`, or a class of your own that has ``from_config``.
        adapter: The task.
        package: Module in which it will be found, its ``__name__``.

    Returns:
        A function of ``student``, its model config, and the method's options. It returns the
        student, with the method as its child ``distiller``.
    """
    from_config: Callable[..., nn.Module] = method.from_config  # type: ignore[attr-defined]

    def build(student: Mapping[str, Any], **options: Any) -> nn.Module:
        model: Any = from_config(ConfigNetworkBuilder(student, adapter), **options)
        table = shape_text(model.distiller)
        print_log(f"Student and other networks:\n{table}", "current")
        built: nn.Module = model
        return built

    own = inspect.signature(build).parameters["student"]
    options = list(inspect.signature(from_config).parameters.values())[1:]  # without the builder
    build.__signature__ = inspect.Signature([own, *options])  # type: ignore[attr-defined]
    build.__name__ = build.__qualname__ = method.__name__
    build.__module__, build.__doc__ = package, from_config.__doc__
    return build


def shape_text(distiller: Any) -> str:
    """Return the layers that a distiller compares, or the networks of a method, a line each."""
    table = distiller.shape_table
    return "\n".join(format_table((), table)) if isinstance(table, list) else str(table)


def _build_teachers(
    adapter: ModelAdapter,
    teacher: Mapping[str, Any] | None,
    teachers: Mapping[str, Mapping[str, Any]] | None,
) -> tuple[dict[str, nn.Module], dict[str, torch.dtype | None], dict[str, Rescale | None]]:
    """Return models, precisions and image sizes, by name."""
    if (teacher is None) == (not teachers):
        raise ValueError(
            "a distilled model must have teacher=dict(config=, checkpoint=) or "
            f"teachers=dict(name=dict(config=, checkpoint=), ...), but has "
            f"{'neither' if teacher is None else 'both'}."
        )
    references = {ONLY_TEACHER: teacher} if teacher is not None else dict(teachers or {})
    found = {
        name: build_trained(
            reference, "teacher" if teacher is not None else f"teachers.{name}", ("scale",)
        )
        for name, reference in references.items()
    }
    models = {name: model for name, (model, _) in found.items()}
    for name, reference in references.items():
        if reference.get(CLASSES):
            adapter.pick_classes(models[name], *classes_by_name(reference))
    scales = {name: reference.get("scale") for name, reference in references.items()}
    rescales = {name: None if one is None else Rescale(one) for name, one in scales.items()}
    return models, {name: precision for name, (_, precision) in found.items()}, rescales


def _freeze(
    adapter: ModelAdapter,
    student: nn.Module,
    teacher: nn.Module,
    terms: Mapping[str, Term],
    precision: torch.dtype | None,
    rescale: Rescale | None,
) -> FrozenTeacher:
    """Freeze a teacher that fits the student; ``terms`` are those that read it."""
    adapter.require_pair(student, teacher, terms)
    adapter.make_readable(teacher, layers_of(terms, "teacher"))
    _settle_masks(terms, adapter.score_layers(teacher))
    convert: Any = adapter.convert(student, teacher)
    adapter.require_sizes(student, teacher, rescale)
    if rescale:
        adapter.require_scalable(layers_of(terms, "teacher"))
        convert = rescaled(convert, rescale)
    forward = adapter.forward(_modules(terms, "teacher"), convert)
    return FrozenTeacher(teacher, forward, precision, adapter.follows(student, teacher, terms))


def _settle_masks(terms: Mapping[str, Term], score_layers: str | None) -> None:
    """Name the teacher's layers of scores to masks that name none."""
    for term in terms.values():
        if term.mask is not None and term.mask.kind == "scores" and not term.mask.layers:
            term.set_mask(MapMask("scores", score_layers))


def _modules(terms: Mapping[str, Term], side: str) -> list[str]:
    return [layer.module for layer in layers_of(terms, side)]
