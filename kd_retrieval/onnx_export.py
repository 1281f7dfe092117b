"""ONNX export of an embedder, and the exported network under onnxruntime."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kd_core.packages import missing_package

TOLERANCE = 1e-4  # of each component of an embedding, against torch
MIN_OPSET, MAX_OPSET = 17, 20  # the second is the last that torch's older exporter knows


class WithPreprocessing(nn.Module):
    """An embedder that takes plain images and normalizes them itself.

    Args:
        model: The embedder; mean, std and channel order are those of its ``data_preprocessor``.

    Raises:
        ValueError: If its preprocessor is not mmengine's ImgDataPreprocessor.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        before: Any = getattr(model, "data_preprocessor", None)
        if not hasattr(before, "_channel_conversion"):
            raise ValueError(
                "preprocessing can be included if it is mmengine's ImgDataPreprocessor, but it is "
                f"{type(before).__name__}. Leave it out with --no-preprocessing."
            )
        self.flip = bool(before._channel_conversion)
        normalizes = bool(before._enable_normalize)
        mean = before.mean if normalizes else torch.zeros(3, 1, 1)
        std = before.std if normalizes else torch.ones(3, 1, 1)
        self.register_buffer("mean", mean.detach().clone().float().reshape(1, -1, 1, 1))
        self.register_buffer("std", std.detach().clone().float().reshape(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Embed images float32 (N, 3, H, W) in RGB from 0 to 255."""
        images = images.flip(1) if self.flip else images
        vectors: Tensor = self.model((images - self.mean) / self.std)
        return vectors


def export_onnx(
    model: nn.Module,
    path: str | Path,
    size: tuple[int, int],
    opset: int = MIN_OPSET,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a network from images to embeddings as ONNX; the batch may have any size.

    Args:
        model: Network from ``images`` float32 (N, 3, H, W) to ``embeddings`` (N, D); switched to
            eval mode.
        path: File to write.
        size: Height and width of the images; they become fixed.
        opset: Version of ONNX's operators.
        metadata: Name to value, kept in the file as text.

    Raises:
        ImportError: If onnx is not installed.
        ValueError: If the opset is too old or too new, or torch cannot export the network.
    """
    if not MIN_OPSET <= opset <= MAX_OPSET:
        raise ValueError(f"the opset must be {MIN_OPSET} to {MAX_OPSET}, but it is {opset}.")
    onnx = _onnx()
    model.eval()
    example = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 255
    try:
        with _exporting():
            # The older exporter needs no more packages and is fast; the result is checked.
            torch.onnx.export(
                model,
                (example,),
                str(path),
                dynamo=False,
                opset_version=opset,
                input_names=["images"],
                output_names=["embeddings"],
                dynamic_axes={"images": {0: "batch"}, "embeddings": {0: "batch"}},
            )
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        raise ValueError(f"torch cannot export this network with opset {opset}: {error}") from error
    written = onnx.load(str(path))
    texts = {key: value if isinstance(value, str) else json.dumps(value)
             for key, value in (metadata or {}).items()}  # fmt: skip
    onnx.helper.set_model_props(written, texts)
    onnx.checker.check_model(written)
    onnx.save(written, str(path))


class OnnxEmbedder:
    """An exported student under onnxruntime, on the CPU.

    Args:
        path: The ONNX file.

    Raises:
        ImportError: If onnxruntime is not installed.
        ValueError: If onnxruntime cannot read it.
    """

    def __init__(self, path: str | Path) -> None:
        runtime = _onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # an error is raised, and need not be printed too
        try:
            self.session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has an exception class for each kind of failure
            raise ValueError(f"onnxruntime cannot read {path}: {error}") from error

    @property
    def metadata(self) -> dict[str, str]:
        """Return the metadata in the file."""
        return dict(self.session.get_modelmeta().custom_metadata_map)

    def __call__(self, images: NDArray[Any]) -> NDArray[Any]:
        """Embed images float32 (N, 3, H, W).

        Raises:
            ValueError: If onnxruntime fails, as on another size.
        """
        try:
            (vectors,) = self.session.run(None, {"images": images.astype(np.float32)})
        except Exception as error:
            raise ValueError(f"onnxruntime fails on images {images.shape}: {error}") from error
        return np.asarray(vectors)


def require_close(exported: NDArray[Any], original: NDArray[Any], start: int = 0) -> float:
    """Require that embeddings of the exported network are the original's.

    Args:
        exported: Embeddings (N, D) under onnxruntime.
        original: Embeddings (N, D) under torch.
        start: Number of the first image, for the message.

    Returns:
        The largest difference in a component.

    Raises:
        ValueError: If it is above 1e-4 (relative to the length of embeddings that are not of
            length 1), or shapes differ; names the image.
    """
    if exported.shape != original.shape:
        raise ValueError(
            f"the exported network must give embeddings {original.shape}, but gives "
            f"{exported.shape}."
        )
    lengths = np.linalg.norm(original.astype(np.float64), axis=1, keepdims=True)
    differences = np.abs(exported.astype(np.float64) - original) / np.maximum(lengths, 1e-12)
    worst = differences.max(axis=1)
    if not (worst <= TOLERANCE).all():  # NaN fails too
        image = int(np.flatnonzero(~(worst <= TOLERANCE))[0])
        raise ValueError(
            f"the exported network must embed as the original within {TOLERANCE:g}, but image "
            f"{start + image} differs by {worst[image]:.3g}. It is not to be used."
        )
    return float(worst.max())


@contextlib.contextmanager
def _exporting() -> Iterator[None]:
    """Prepare torch for its older exporter.

    Its warnings are hidden: the file is compared with the original anyway. So is the whole graph,
    which its C++ code prints when it fails; the error names the cause. The fused
    attention of torch's transformers is switched off, since ONNX has no operator for it.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), warnings.catch_warnings(), _without_output():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


@contextlib.contextmanager
def _without_output() -> Iterator[None]:
    """Discard everything written to standard output, also by C++ code."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise missing_package("an ONNX file", "onnx") from error
    return onnx


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_package("the check of an ONNX file", "onnxruntime") from error
    return onnxruntime
