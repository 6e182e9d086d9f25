"""Define torchvision's operators for suppression of boxes, for processors.

The registry's torchvision is compiled against CUDA, and its library cannot be loaded beside a torch
without it. What torchvision itself can compute in Python (`roi_align`) it does then; this module
adds what models for detection need besides. Other compiled operators are missing, for example
`roi_pool`, `deform_conv2d` and `io.decode_image`.
"""

import torch

LIBRARY = torch.library.Library("torchvision", "DEF")
LIBRARY.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
LIBRARY.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def nms(dets: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Return the indices of the boxes that no better box overlaps by more than the threshold."""
    order = scores.argsort(descending=True, stable=True)
    boxes = dets[order]
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    remaining = torch.ones(len(boxes), dtype=torch.bool)
    kept = []
    for index in range(len(boxes)):
        if remaining[index]:
            kept.append(index)
            low = torch.maximum(boxes[index, :2], boxes[index:, :2])
            high = torch.minimum(boxes[index, 2:], boxes[index:, 2:])
            common = (high - low).clamp(min=0).prod(dim=1)
            overlap = common / (areas[index] + areas[index:] - common)
            remaining[index:] &= ~(overlap > iou_threshold)
    return order[torch.tensor(kept, dtype=torch.long)]


LIBRARY.impl("nms", nms, "CPU")


def _assert_has_ops() -> None:
    """Let torchvision call the operators: a missing one is an AttributeError with its name."""
