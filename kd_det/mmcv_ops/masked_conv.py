"""Convolution at some places of a map alone, in two steps: gather patches, scatter results."""

import torch
from torch import Tensor
from torch.nn import functional

SERVED = ("masked_im2col_forward", "masked_col2im_forward")


def masked_im2col_forward(
    im: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    col: Tensor,
    kernel_h: int,
    kernel_w: int,
    pad_h: int,
    pad_w: int,
) -> None:
    """Write the patches (C * k * k, places) around places of a map (1, C, H, W)."""
    padded = functional.pad(im[0], (pad_w, pad_w, pad_h, pad_h))
    rows = mask_h_idx[:, None, None] + torch.arange(kernel_h, device=im.device)[:, None]
    columns = mask_w_idx[:, None, None] + torch.arange(kernel_w, device=im.device)
    patches = padded[:, rows, columns]  # (C, places, k, k)
    col.copy_(patches.permute(0, 2, 3, 1).flatten(0, 2))


def masked_col2im_forward(
    col: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    im: Tensor,
    height: int,
    width: int,
    channels: int,
) -> None:
    """Write columns (C, places) to their places of a map (1, C, H, W)."""
    im[0, :, mask_h_idx, mask_w_idx] = col
