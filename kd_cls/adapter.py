"""Adapter of classification: logits, stages, and checks of networks that are compared."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from kd_cls.classifier import Classifier, image_size_of, require_one_size
from kd_core import Term
from kd_core.terms import layers_of
from kd_engine.adapter import ModelAdapter
from kd_engine.data.rescale import Rescale

_LOGITS = ("logits", "network", "output", "")  # all output the class scores


class ClassifierAdapter(ModelAdapter):
    """Adapter of a :class:`Classifier`; see :class:`ModelAdapter`."""

    def __init__(self) -> None:
        super().__init__(output="logits", feature="network.pool")

    def require(self, network: nn.Module, name: str) -> None:
        """Require a classifier."""
        if not isinstance(network, Classifier):
            raise ValueError(
                f"{name} must be a kd_cls.Classifier, but it is a {type(network).__name__}."
            )

    def require_alike(self, student: nn.Module, name: str, network: nn.Module) -> None:
        """Require that another classifier has the student's classes and takes its images."""
        assert isinstance(student, Classifier) and isinstance(network, Classifier)
        if network.num_classes != student.num_classes:
            raise ValueError(
                "all networks must have the same classes, but the student has "
                f"{student.num_classes} and {name} has {network.num_classes}. Correct "
                "num_classes, or take networks of the same data."
            )
        require_one_size(student, network, f"that of {name}", "Take networks of one image size.")

    def require_pair(
        self, student: nn.Module, teacher: nn.Module, terms: Mapping[str, Term]
    ) -> None:
        """Require classifiers, of the same classes if logits are compared."""
        if not (isinstance(student, Classifier) and isinstance(teacher, Classifier)):
            raise ValueError(
                f"student and teacher must be classifiers, but they are {type(student).__name__} "
                f"and {type(teacher).__name__}. Use kd_core.Distiller for other models."
            )
        scored = [name for name, term in terms.items() if compares_logits(term)]
        if scored and student.num_classes != teacher.num_classes:
            raise ValueError(
                f"term {scored[0]!r} compares logits, so student and teacher must have the same "
                f"classes, but the student has {student.num_classes} and the teacher "
                f"{teacher.num_classes}. Take a teacher of the student's data, or compare other "
                "layers alone."
            )

    def require_sizes(
        self, student: nn.Module, teacher: nn.Module, rescale: Rescale | None
    ) -> None:
        """Require that the teacher's image_size is the student's, or what ``rescale`` makes."""
        assert isinstance(student, Classifier) and isinstance(teacher, Classifier)
        wanted = teacher.image_size
        remedy = f"Give the teacher scale={wanted}, which resizes its images."
        require_one_size(student, teacher, "the teacher's", remedy, rescale)

    def image_size(self, *models: nn.Module) -> tuple[int, int]:
        """Return the size that a classifier or its network takes, otherwise 32 x 32."""
        return image_size_of(*models)

    def stages(self, network: nn.Module, name: str) -> list[str]:
        """Return the stages of a classifier's network."""
        assert isinstance(network, Classifier)
        if network.stages is not None:
            return list(network.stages)
        count = getattr(network.network, "num_stages", None)
        if count is None:
            raise ValueError(
                f"{type(network.network).__name__} does not name its stages. Name their layers, "
                "such as ['network.layer1', 'network.layer2'], as stages= of the Classifier or "
                "layers= of the method; kdkit layers prints them."
            )
        return [f"network.stage{number}" for number in range(1, count + 1)]

    def own_loss(self, network: nn.Module, output: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of a classifier, with the factor that it has."""
        assert isinstance(network, Classifier)
        return network.loss_weight * F.cross_entropy(output.float(), labels)


def compares_logits(term: Term) -> bool:
    """Return whether a term takes the class scores of student or teacher."""
    sides = (layers_of({"": term}, side) for side in ("student", "teacher"))
    return any(layer.module in _LOGITS for layers in sides for layer in layers)
