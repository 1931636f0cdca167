"""Backbones: networks that turn images into embeddings, run by ONNX Runtime or OpenVINO."""

from __future__ import annotations

import os

from msde.backbones.backbone import Backbone
from msde.backbones.registry import load_backbone

__all__ = ["Backbone", "load_backbone"]

# ONNX Runtime would otherwise write an identifier of the machine to the home folder; it reads this when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
