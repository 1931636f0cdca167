"""Print what each network of the registry costs, full-size and with random weights: images a second and megabytes.

python benchmarks/networks.py [NAME ...] > benchmarks/networks.csv

A network is built as its library describes the original, exported as a backbone is, and run by ONNX Runtime on two
threads, a picture of noise each pass. Weights have no influence on the time. Of transformers of more than 400 million
numbers a quarter of the blocks is built, so that any machine can, and time and size are counted for all of them.
Networks of one architecture, size and library are measured once. `python tools/networks.py --write` puts the figures
into docs/networks.md.
"""

from __future__ import annotations

import csv
import gc
import sys
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from msde.backbones import Backbone, load_backbone
from msde.backbones.export import export_torch, quiet
from msde.backbones.known import registry
from msde.backbones.session import EmbeddingSession

THREADS, SECONDS = 2, 5.0
COLUMNS = ("name", "grid", "images_per_second", "megabytes", "share")
LARGE = ("uni2-h", "virchow2", "h-optimus-0", "prov-gigapath")
PARTS = 4  # of whose blocks one is built

BASE: dict[str, int] = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
SMALL: dict[str, int] = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6}
LARGER: dict[str, int] = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
SIGLIP_BASE = BASE | {"intermediate_size": 3072, "patch_size": 16}
SIGLIP_LARGE = {"hidden_size": 1152, "num_hidden_layers": 27, "num_attention_heads": 16, "intermediate_size": 4304}
CLIP_LARGE = LARGER | {"intermediate_size": 4096, "patch_size": 14}
TEXT = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 50}
TEXT |= {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
DINOV2 = {"patch_size": 14, "image_size": 518}
# What the file beside the weights says of a model of transformers.
TRANSFORMERS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "siglip2-base": ("Siglip", SIGLIP_BASE),
    "medsiglip-448": ("Siglip", SIGLIP_LARGE | {"patch_size": 14}),
    "rad-dino": ("Dinov2", BASE | DINOV2),
    "rad-dino-maira-2": ("Dinov2", BASE | DINOV2),
    "cxformer-small": ("Dinov2WithRegisters", SMALL | DINOV2 | {"num_register_tokens": 4}),
    "cxformer-base": ("Dinov2WithRegisters", BASE | DINOV2 | {"num_register_tokens": 4}),
    "phikon": ("ViT", BASE | {"patch_size": 16}),
    "phikon-v2": ("Dinov2", LARGER | {"patch_size": 16}),
    "monet": ("CLIP", CLIP_LARGE),
}
# And of one of timm.
TIMM: dict[str, tuple[str, Mapping[str, Any]]] = {
    "virchow2": ("vit_huge_patch14_224", {"reg_tokens": 4, "init_values": 1e-5, "mlp_ratio": 5.3375}),
    "h-optimus-0": ("vit_giant_patch14_reg4_dinov2", {"img_size": 224}),
    "prov-gigapath": ("vit_giant_patch14_dinov2", {"img_size": 224, "patch_size": 16}),
}
OPEN_CLIP: dict[str, Mapping[str, Any]] = {
    "biomedclip": {"timm_model_name": "vit_base_patch16_224", "timm_pool": "", "timm_proj": "linear"},
    "dermlip": {"layers": 12, "width": 768, "patch_size": 16},
}


class Built(NamedTuple):
    """A network with random weights."""

    backbone: Backbone
    share: float  # of its blocks
    constant: int  # numbers outside the blocks


def of_timm(name: str, entry: Mapping[str, Any]) -> Built:
    """Build a network of timm."""
    from msde.backbones import timm_export

    architecture, options = TIMM.get(name, (entry.get("architecture"), {}))
    options = {**options, **entry.get("options", {})}
    share, constant = 1.0, 0
    network = timm_export.build(name, architecture, {**entry, "options": options})
    if name in LARGE:
        share, constant = 1 / PARTS, counted(network) - counted(network.blocks)
        kept = len(network.blocks) // PARTS
        del network.blocks[kept:], network.feature_info[kept:]
    return Built(exported(name, timm_export.with_head(network, entry["pooling"]), entry), share, constant)


def of_transformers(name: str, entry: Mapping[str, Any]) -> Built:
    """Build a model of transformers, with the smallest text encoder where there is one."""
    import transformers

    from msde.backbones.transformers_export import with_maps

    family, vision = TRANSFORMERS[name]
    size = entry["input_size"]
    config = getattr(transformers, f"{family}Config")
    described = config(**{"image_size": size, **vision})
    if hasattr(described, "vision_config"):
        extra = {"projection_dim": entry["dim"]} if family == "CLIP" else {}
        described = config(text_config=TEXT, vision_config={"image_size": size, **vision}, **extra)
    network = getattr(transformers, f"{family}Model")(described).eval()
    return Built(exported(name, with_maps(name, network, entry["pooling"], size, True)[0], entry), 1.0, 0)


def of_open_clip(name: str, entry: Mapping[str, Any]) -> Built:
    """Build an image encoder of OpenCLIP."""
    import open_clip

    from msde.backbones.open_clip_export import build, with_maps

    vision = {"image_size": entry["input_size"], **OPEN_CLIP.get(name, {})}
    model = {"embed_dim": entry["dim"], "vision_cfg": vision}
    if "architecture" in entry:
        model = open_clip.get_model_config(entry["architecture"].partition("/")[0])
    return Built(exported(name, with_maps(build(name, model)), entry), 1.0, 0)


def of_xrv(name: str, entry: Mapping[str, Any]) -> Built:
    """Build a network of torchxrayvision."""
    from msde.backbones.xrv_export import densenet, resnet

    residual = entry["architecture"].startswith("resnet")
    network = resnet(entry["architecture"]) if residual else densenet(entry.get("options", {}))
    return Built(exported(name, network, entry), 1.0, 0)


def of_package(name: str, entry: Mapping[str, Any]) -> Built:
    """Load a built-in network."""
    return Built(load_backbone(name), 1.0, 0)


BUILDERS = {
    "builtin": of_package,
    "timm": of_timm,
    "hf": of_transformers,
    "open_clip": of_open_clip,
    "xrv": of_xrv,
}


def exported(name: str, wrapper: Any, entry: Mapping[str, Any]) -> Backbone:
    """Make a backbone of a network, as loading its weights would."""
    with quiet():
        return export_torch(name, wrapper, entry, "random weights")


def counted(network: Any) -> int:
    """Return how many numbers a torch network has."""
    return sum(parameter.numel() for parameter in network.parameters())


def measured(built: Built) -> dict[str, str]:
    """Run a network and return its row, but for the name."""
    backbone = built.backbone
    session = EmbeddingSession(backbone, THREADS)
    size = backbone.input_size
    pixels = np.random.default_rng(0).random((1, 3, size, size), np.float32)
    maps = session.run(pixels, ["embedding", *backbone.levels])
    grid = " x ".join(map(str, maps[backbone.levels[0]].shape[2:]))
    start, n = time.perf_counter(), 0
    while n == 0 or time.perf_counter() - start < SECONDS:
        session.run(pixels, ["embedding", *backbone.levels])
        n += 1
    speed = n / (time.perf_counter() - start) * built.share
    numbers = sum(values.size for values in backbone.weights.values())
    numbers = round((numbers - built.constant) / built.share) + built.constant
    share = "1" if built.share == 1 else f"1/{PARTS}"
    figure = f"{speed:.0f}" if speed >= 10 else f"{speed:.2g}"
    return {"grid": grid, "images_per_second": figure, "megabytes": f"{4 * numbers / 1e6:.0f}", "share": share}


def alike(name: str, entry: Mapping[str, Any]) -> str:
    """Return what makes a network's cost."""
    told = TRANSFORMERS.get(name) or TIMM.get(name) or OPEN_CLIP.get(name) or entry.get("architecture", name)
    return repr((entry["loader"], told, entry.get("options"), entry["input_size"]))


def main() -> None:
    writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    writer.writeheader()
    known: dict[str, dict[str, str]] = {}
    for name in sys.argv[1:] or registry():
        entry = registry()[name]
        key = alike(name, entry)
        if key not in known:
            known[key] = measured(BUILDERS[entry["loader"]](name, entry))
            gc.collect()
        writer.writerow({"name": name, **known[key]})
        sys.stdout.flush()


if __name__ == "__main__":
    main()
