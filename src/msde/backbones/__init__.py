"""Backbones: networks that turn images into embeddings, run by ONNX Runtime."""

from __future__ import annotations

from msde.backbones.backbone import Backbone
from msde.backbones.registry import load_backbone

__all__ = ["Backbone", "load_backbone"]
