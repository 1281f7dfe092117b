"""Task of retrieval: what every command needs to know about embedders."""

from __future__ import annotations

import logging

from mmengine.config import Config
from mmengine.logging import print_log

from kd_core import Normalization
from kd_core.terms import layers_of
from kd_engine.build import build_terms, is_distilled
from kd_engine.config.keys import listed
from kd_engine.doctor.versions import version_of
from kd_engine.export_files import kdkit_command
from kd_engine.task import Task
from kd_retrieval.data_check import check_datasets, check_test_classes
from kd_retrieval.distilled import ADAPTER

_LIBRARIES = ("faiss-cpu", "timm", "pytorch-metric-learning", "onnx", "onnxruntime")
_EMBEDDING = ("embedding", "projection")  # the same vector, with and without its length


class Retrieval(Task):
    """Embedders; see :class:`kd_engine.task.Task`.

    Their teachers are not checked: an embedder's classes are not those of the data it embeds.
    """

    output = "embeddings"

    def environment(self) -> list[tuple[str, str]]:
        """Return the libraries of retrieval and their versions."""
        return [(name, version_of(name)) for name in _LIBRARIES]

    def check_data(self, config: Config, images: bool = False) -> list[str]:
        """Check counts and classes; with ``images`` decode every image."""
        check_asymmetric(config)
        return check_datasets(config, images)

    def check_test(self, config: Config, teacher: bool = False) -> None:
        """Check for what could falsify a score on the test data, of the student or the teacher."""
        if not teacher:
            check_asymmetric(config)
        check_test_classes(config)

    def student_alone(self, config: Config, plain: str, weights: str) -> str:
        """Return what an exported embedder needs, and a command that embeds with it."""
        command = kdkit_command("embed", plain, weights, "embeddings.npz")
        hint = "to embed its test data (--image-folder FOLDER embeds others)"
        return f"it needs kdkit; {hint}:\n{command}"


TASK = Retrieval(ADAPTER)


def check_asymmetric(config: Config) -> bool:
    """Warn where students search a teacher's gallery although nothing aligned the two spaces.

    Returns:
        True if there was reason to warn.
    """
    evaluators = [
        one for name in ("val", "test") for one in listed(config.get(f"{name}_evaluator"))
    ]
    if not any(one.get("gallery") for one in evaluators) or not is_distilled(config.model):
        return False
    terms = build_terms(config.model.get("terms") or {})  # a method of several networks has none
    for term in terms.values():
        paths = [layer.module for layer in layers_of({"": term}, "student")]
        aligns = getattr(term.loss, "aligns_spaces", False)  # a custom loss may not declare it
        # "standard" leaves the student its own mean and scales.
        keeps = term.normalize != Normalization("standard")
        if aligns and keeps and term.weight and set(paths) & set(_EMBEDDING):
            return False
    print_log(
        "student queries are searched in another network's gallery, but no term on 'embedding' "
        f"aligns the two spaces ({', '.join(terms) or config.model.type} does not): the score "
        "will be near chance. Add FeatureImitationLoss or EmbeddingCosineLoss on the embedding, "
        "with equal sizes.",
        "current",
        logging.WARNING,
    )
    return True
