"""FAISS indexes on a GPU: copies of those that are built, or read, on the CPU.

FAISS has them in its GPU builds (faiss-gpu) alone, for flat and ivf. What is written to a file is
always the CPU's.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from kd_retrieval.search.index import SearchIndex, faiss_module

_KINDS = ("flat", "ivf")  # of which FAISS has a GPU version
_LIMIT = 2048  # neighbors, and lists a query looks at, of FAISS's GPU kernels


def require_gpu_index(kind: str, device: torch.device, k: int) -> None:
    """Require that an index of a kind can be searched on a device.

    Args:
        kind: ``flat``, ``ivf`` or ``hnsw``.
        device: Where; a CPU can search all.
        k: Neighbors that are asked for.

    Raises:
        ImportError: If faiss is not installed.
        ValueError: If the kind, or so many neighbors, have no GPU version, or faiss is the CPU's.
    """
    if device.type == "cpu":
        return
    if kind not in _KINDS:
        raise ValueError(
            f"an index on a GPU is one of {', '.join(_KINDS)}, but it is {kind}. Take one of "
            "these, or --device cpu."
        )
    if k >= _LIMIT:  # one more is looked for, as a query may find itself
        raise ValueError(
            f"a GPU finds fewer than {_LIMIT} neighbors, but k is {k}. Lower it, or take "
            "--device cpu."
        )
    if not hasattr(faiss_module(), "StandardGpuResources"):
        raise ValueError(
            f"an index on {device} needs a GPU build of FAISS, but the one that is installed is "
            "for CPUs. Install faiss-gpu instead of faiss-cpu, or take --device cpu."
        )


def on_device(index: SearchIndex, device: torch.device) -> SearchIndex:
    """Copy an index to a device, with its probes; on a CPU it is returned as it is.

    Args:
        index: One of the CPU.
        device: Where to search; see :func:`require_gpu_index`.

    Raises:
        ValueError: If a query is to look at more lists than a GPU's kernels can.
    """
    if device.type == "cpu":
        return index
    probes = index.index.nprobe if index.kind == "ivf" else 0
    if probes > _LIMIT:
        raise ValueError(
            f"on a GPU a query looks at {_LIMIT} lists at most, but probes are {probes}. Lower "
            "--probes, or take --device cpu."
        )
    faiss = faiss_module()
    resources = faiss.StandardGpuResources()
    copied = faiss.index_cpu_to_gpu(resources, device.index or 0, index.index)
    if probes:
        copied.nprobe = probes
    return replace(index, index=copied, resources=resources)
