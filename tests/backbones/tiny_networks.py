"""A small network of every architecture that the registry names, with random weights in the original's format.

What is small is the depth and the width, by the same arguments by which the library describes the large one. Where a
class takes none it is as large as the original, and only its images are smaller: torchxrayvision's ResNet-50 and the
built-in networks.
"""

from __future__ import annotations

import argparse
import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from msde.backbones.known import registry

Options = dict[str, Any]
Wrap = Callable[[dict[str, Any]], object]

WIDTH, DEPTH, HEADS = 32, 4, 2
BLOCKS: Options = {"embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS}
STAGES: Options = {"layers": (1, 1, 1, 1), "channels": (8, 16, 24, WIDTH)}
CONVNEXT: Options = {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, WIDTH)}
MOBILE: Options = {"layers": (1, 1, 1, 1), "embed_dims": (8, 16, WIDTH, 2 * WIDTH)}
DENSENET: Options = {"growth_rate": 4, "block_config": [2, 2, 2, 2], "num_init_features": 8}
TOKENS: Options = {
    "hidden_size": WIDTH,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": HEADS,
    "intermediate_size": 2 * WIDTH,
}
TEXT = TOKENS | {"vocab_size": 50, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}


class Tiny(NamedTuple):
    """How a small network is made and saved."""

    save: Callable[[Options, Path], Path | None]  # what the registry says of it -> the checkpoint
    changes: Options  # to what the registry says of the large one
    of_timm: Options | None = None  # arguments that the library which builds the network by timm hands on none of


def bare(state: dict[str, Any]) -> object:
    """As timm and most authors save weights."""
    return state


def masked_autoencoder(state: dict[str, Any]) -> object:
    """As the training script of MAE saves them."""
    import torch

    further = {"mask_token": torch.ones(1, 1, 8), "decoder_embed.weight": torch.ones(8, WIDTH)}
    return {"model": state | further, "epoch": 800, "args": argparse.Namespace(blr=1e-3)}


def with_texts(state: dict[str, Any]) -> object:
    """As UrFound's training saves its autoencoder of images and texts."""
    import torch

    return masked_autoencoder(
        state | {"bert_encoder.layer.weight": torch.ones(8, 8), "bert_mlp.weight": torch.ones(8, WIDTH)}
    )


def masked(state: dict[str, Any]) -> object:
    """As USFM's training saves a network whose blocks share their bias of positions."""
    import torch

    return state | {"mask_token": torch.ones(1, 1, WIDTH), "rel_pos_bias.relative_position_index": torch.ones(17, 17)}


def teacher(state: dict[str, Any]) -> object:
    """As DINOv2's training saves its teacher."""
    import torch

    inner = state | {"mask_token": torch.ones(1, WIDTH)}
    return {"teacher": {f"backbone.{name}": t for name, t in inner.items()} | {"dino_head.last": torch.ones(3)}}


def larger_teacher(state: dict[str, Any]) -> object:
    """The same, trained on larger images: its positions are interpolated."""
    import torch

    return teacher(state | {"pos_embed": torch.rand(1, 1 + 6 * 6, WIDTH)})


def teacher_of_swiglu(state: dict[str, Any]) -> object:
    """As DINOv2's training saves a teacher with registers and gated layers: under its own names, blocks in chunks."""
    import torch

    renamed = {name.replace(".mlp.fc1.", ".mlp.w12.").replace(".mlp.fc2.", ".mlp.w3."): t for name, t in state.items()}
    renamed = {
        re.sub(r"^blocks\.(\d+)", lambda m: f"blocks.{int(m[1]) // 2}.{m[1]}", name): t for name, t in renamed.items()
    }
    renamed["register_tokens"] = renamed.pop("reg_token")
    positions = renamed["pos_embed"]
    renamed["pos_embed"] = torch.cat([torch.zeros(1, 1, WIDTH), positions], 1)  # one for the class token too
    return teacher(renamed)


def image_part(state: dict[str, Any]) -> object:
    """As FLAIR saves both of its networks."""
    import torch

    return {f"vision_model.model.{name}": t for name, t in state.items()} | {"text_model.w": torch.ones(3)}


def write(content: Any, path: Path) -> Path:
    """Save tensors by the format that the file's name tells."""
    import torch
    from safetensors.torch import save_file

    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in content.items()}, path)
    else:
        torch.save(content, path)
    return path


def of_timm(file: str, options: Options, side: int, wrap: Wrap = bare, dim: int = WIDTH, classes: int = 0) -> Tiny:
    """A network of timm, its architecture told by the registry."""

    def save(entry: Options, folder: Path) -> Path:
        from msde.backbones.timm_export import build

        network = build("tiny", entry["architecture"], entry)
        if classes:
            network.reset_classifier(classes)
        return write(wrap(network.state_dict()), folder / file)

    return Tiny(save, {"options": options, "input_size": side, "dim": dim})


def of_config(architecture: str, arguments: Options, file: str, dim: int = WIDTH) -> Tiny:
    """A network of timm, its architecture told by a file beside the weights."""

    def save(entry: Options, folder: Path) -> Path:
        from msde.backbones.timm_export import build

        inner = arguments | BLOCKS | {"img_size": 56}
        network = build("tiny", architecture, {"options": inner | entry.get("options", {})})
        described = {"architecture": architecture, "num_classes": 0, "model_args": inner, "pretrained_cfg": {}}
        (folder / "config.json").write_text(json.dumps(described))
        write(network.state_dict(), folder / file)
        return folder

    return Tiny(save, {"input_size": 56, "dim": dim})


def of_transformers(family: str, patch: int, **settings: Any) -> Tiny:
    """A model of transformers; with text, if its family has it."""
    side = 4 * patch

    def save(entry: Options, folder: Path) -> Path:
        import transformers

        from msde.backbones.export import quiet

        vision = TOKENS | {"image_size": side, "patch_size": patch}
        config = getattr(transformers, f"{family}Config")
        described = config(**vision, **settings)
        if hasattr(described, "vision_config"):
            described = config(text_config=TEXT, vision_config=vision, **settings)
        with quiet():
            getattr(transformers, f"{family}Model")(described).save_pretrained(folder)
        processor = {"size": {"height": side, "width": side}, "image_mean": entry["mean"], "image_std": entry["std"]}
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
        return folder

    return Tiny(save, {"input_size": side, "dim": WIDTH})


def of_open_clip(entry: Options, folder: Path, vision: Options, file: str) -> Path:
    """A model of OpenCLIP, images and texts, that is described beside its weights."""
    from open_clip import CLIP, CustomTextCLIP

    text = {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}
    model = (CustomTextCLIP if "timm_model_name" in vision else CLIP)(entry["dim"], vision, text)
    described = {"model_cfg": {"embed_dim": entry["dim"], "vision_cfg": vision, "text_cfg": text}}
    (folder / "open_clip_config.json").write_text(json.dumps(described | {"preprocess_cfg": {}}))
    write(model.state_dict(), folder / file)
    return folder


def biomedclip(entry: Options, folder: Path) -> Path:
    """One with an image encoder of timm."""
    vision = {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "linear"}
    return of_open_clip(entry, folder, vision, "open_clip_pytorch_model.bin")


def dermlip(entry: Options, folder: Path) -> Path:
    """One with OpenCLIP's own image encoder."""
    vision = {"image_size": 64, "layers": DEPTH, "width": WIDTH, "head_width": 16, "patch_size": 16}
    return of_open_clip(entry, folder, vision, "open_clip_model.safetensors")


def mobileclip(entry: Options, folder: Path) -> Path:
    """A model of OpenCLIP that it knows by name."""
    import open_clip

    from msde.backbones.open_clip_export import VISUAL, build

    architecture = entry["architecture"].partition("/")[0]
    state = build("tiny", open_clip.get_model_config(architecture)).state_dict()
    return write({f"{VISUAL}{name}": t for name, t in state.items()}, folder / "open_clip_model.safetensors")


def dense_chest(entry: Options, folder: Path) -> Path:
    """A DenseNet of torchxrayvision, saved whole."""
    import torch
    import torchxrayvision

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(torchxrayvision.models.DenseNet(**entry["options"]), folder / "net.pt")
    return folder / "net.pt"


def residual_chest(entry: Options, folder: Path) -> Path:
    """A ResNet of torchxrayvision."""
    from msde.backbones.xrv_export import resnet

    return write(resnet(entry["architecture"]).state_dict(), folder / "net.pt")


def built_in(entry: Options, folder: Path) -> None:
    """The package's own weights."""


SWIGLU: Options = {"mlp_ratio": 5.33334, "init_values": 1e-5}
REGISTERS: Options = {"reg_tokens": 4, "no_embed_class": True, "init_values": 1e-5, "mlp_ratio": 5.33334}
DINOV2 = of_timm("model.safetensors", BLOCKS | {"img_size": 56}, 56)
DINOV3 = of_timm("model.safetensors", BLOCKS | {"img_size": 64}, 64)
DINOV3_CONVNEXT = of_timm("model.safetensors", CONVNEXT, 64)
RETFOUND = of_timm("RETFound.pth", BLOCKS | {"img_size": 64}, 64, masked_autoencoder)
RAD_DINO = of_transformers("Dinov2", 14)
SIGLIP = of_transformers("Siglip", 16)
CXFORMER = of_transformers("Dinov2WithRegisters", 14, num_register_tokens=4)
CHEXFOUND = registry()["chexfound"]["options"] | BLOCKS | {"img_size": 64, "mlp_ratio": 5}

TINY = {
    "efficientnet_lite0": Tiny(built_in, {}),
    "efficientnet_lite1": Tiny(built_in, {}),
    "efficientnet_lite2": Tiny(built_in, {}),
    "resnet18.tv_in1k": of_timm("model.safetensors", STAGES, 64, classes=7),
    "resnet50.a1_in1k": of_timm("model.safetensors", STAGES, 64, dim=4 * WIDTH, classes=7),
    "wide_resnet50_2.tv_in1k": of_timm("model.safetensors", STAGES, 64, dim=4 * WIDTH, classes=7),
    "vit_small_patch14_dinov2.lvd142m": DINOV2,
    "vit_base_patch14_dinov2.lvd142m": DINOV2,
    "vit_large_patch14_dinov2.lvd142m": DINOV2,
    "vit_small_patch16_dinov3.lvd1689m": DINOV3,
    "vit_base_patch16_dinov3.lvd1689m": DINOV3,
    "convnext_tiny.dinov3_lvd1689m": DINOV3_CONVNEXT,
    "convnext_small.dinov3_lvd1689m": DINOV3_CONVNEXT,
    "siglip2-base": SIGLIP,
    "mobileclip-s1": Tiny(mobileclip, {"input_size": 64}, MOBILE),
    "xrv-densenet121": Tiny(dense_chest, {"options": DENSENET, "input_size": 64, "dim": 16}),
    "xrv-resnet50": Tiny(residual_chest, {"input_size": 64}),
    "rad-dino": RAD_DINO,
    "rad-dino-maira-2": RAD_DINO,
    "cxformer-small": CXFORMER,
    "cxformer-base": CXFORMER,
    "chexfound": of_timm("teacher_checkpoint.pth", CHEXFOUND, 64, teacher_of_swiglu),
    "medsiglip-448": SIGLIP,
    "biomedclip": Tiny(biomedclip, {"input_size": 160, "dim": 24}),
    "retfound-cfp": RETFOUND,
    "retfound-oct": RETFOUND,
    "retfound-dinov2": of_timm("RETFound.pth", BLOCKS | {"img_size": 56}, 56, larger_teacher),
    "retfound-green": of_timm("retfoundgreen_statedict.pth", BLOCKS | {"img_size": 56}, 56),
    "flair": of_timm("model.safetensors", STAGES, 64, image_part, dim=4 * WIDTH),
    "urfound": of_timm("urfound_mm.pth", BLOCKS | {"img_size": 64}, 64, with_texts),
    "uni": of_timm("pytorch_model.bin", registry()["uni"]["options"] | BLOCKS | {"img_size": 64}, 64),
    "uni2-h": of_timm("pytorch_model.bin", registry()["uni2-h"]["options"] | BLOCKS | {"img_size": 56}, 56),
    "phikon": of_transformers("ViT", 16),
    "phikon-v2": of_transformers("Dinov2", 16),
    "virchow2": of_config("vit_huge_patch14_224", REGISTERS, "model.safetensors", 2 * WIDTH),
    "h-optimus-0": of_config("vit_giant_patch14_reg4_dinov2", {}, "model.safetensors"),
    "prov-gigapath": of_config("vit_giant_patch14_dinov2", SWIGLU, "pytorch_model.bin"),
    "monet": of_transformers("CLIP", 14, projection_dim=WIDTH),
    "dermlip": Tiny(dermlip, {"input_size": 64, "dim": 24}),
    "endovit": of_timm("pytorch_model.bin", BLOCKS | {"img_size": 64}, 64, masked_autoencoder),
    "panderm-base": of_timm("panderm.pth", registry()["panderm-base"]["options"] | BLOCKS | {"img_size": 64}, 64),
    "usfm": of_timm("USFM_latest.pth", registry()["usfm"]["options"] | BLOCKS | {"img_size": 64}, 64, masked),
}
