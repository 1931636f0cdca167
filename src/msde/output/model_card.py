"""A model card in the Hugging Face hub's format: what a model is of, how it is used, what was measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from msde import __version__
from msde.errors import DataError
from msde.output.words import percent

MODES = {
    "inductive": "each image alone, by how the frozen mean shift of the normals displaces it",
    "labelled": "each image alone, by its distance from the normals and its likeness to labelled abnormal images",
    "adaptive": "each image alone, with the direction of an unlabelled pool's outer images where these show a group",
    "transductive": "all images of a batch together with the normals, as published; a score depends on the batch",
}
_LICENCES = {"Apache-2.0": "apache-2.0", "MIT": "mit", "CC0-1.0": "cc0-1.0", "BSD-3-Clause": "bsd-3-clause"}
_FIGURES = {
    "auroc": "AUROC",
    "ap": "average precision",
    "false_alarm_rate": "false alarms",
    "sensitivity": "sensitivity",
}


def model_card(info: Mapping[str, Any], name: str, evaluations: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield a model card, a line each.

    Parameters
    ----------
    info : mapping
        What :meth:`msde.AnomalyModel.info` gives.
    name : str
        Of the model.
    evaluations : mapping of str to mapping
        What `msde evaluate --json` wrote, by the name of the data set.

    Raises
    ------
    DataError
        If something there is no evaluation.
    """
    for set_name, figures in evaluations.items():
        if not isinstance(figures, Mapping) or not {"auroc", "auroc_ci", "n_normal", "n_abnormal"} <= figures.keys():
            raise DataError(f"{set_name}: is no evaluation; give a file that `msde evaluate --json FILE` wrote")
    yield from ("---", *_front_matter(info, name, evaluations), "---", "", f"# {name}", "")
    yield "**For research use only. Not a medical device.** It must not be used for diagnosis, nor to decide on"
    yield "treatment or on who is seen first."
    yield ""
    yield from _about(info)
    yield from _training(info)
    yield from _calibration(info["calibration"], info["mode"])
    yield from _measured(evaluations)
    yield from _limits(info)
    yield from _use(name)


def _front_matter(info: Mapping[str, Any], name: str, evaluations: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    licences = {str(backbone["licence"]) for backbone in info["encoder"]["backbones"]}
    known = {_LICENCES.get(licence) for licence in licences}
    licence = known.pop() if len(known) == 1 else None
    yield f"license: {licence or 'other'}"
    if licence is None:
        yield f"license_name: {json.dumps('that of the networks: ' + ', '.join(sorted(licences)))}"
    yield from ("library_name: msde", "pipeline_tag: image-classification", "tags:")
    yield from (f"- {tag}" for tag in ("anomaly-detection", "medical-imaging", "one-class-classification", "conformal"))
    if not evaluations:
        return
    yield from ("model-index:", f"- name: {json.dumps(name)}", "  results:")
    for set_name, figures in evaluations.items():
        yield from ("  - task:", "      type: image-classification", "      name: anomaly detection", "    dataset:")
        yield from (f"      type: {json.dumps(set_name)}", f"      name: {json.dumps(set_name)}", "    metrics:")
        for key, metric in _FIGURES.items():
            if figures.get(key) is not None:
                yield from (f"    - type: {key}", f"      name: {metric}", f"      value: {figures[key]:.4f}")


def _about(info: Mapping[str, Any]) -> Iterator[str]:
    networks = "; ".join(
        f"{network['name']} ({network['source']}; licence {network['licence']})"
        for network in info["encoder"]["backbones"]
    )
    yield from ("## What it does", "")
    yield (
        "It was fitted on images taken to be normal, and gives each further image an anomaly score (the higher, the"
        " less like them), a p-value (how often a normal image scores at least as high) and a flag. It scores"
        f" {MODES[info['mode']]}."
    )
    yield from ("", f"- Networks: {networks}", f"- Looks: {', '.join(info['encoder']['looks'])}")
    images = info["images"]
    yield f"- Pixels: intensity `{images['intensity']}`, aspect `{images['aspect']}`, reading rules {images['version']}"
    yield from (f"- Heat maps: {'yes' if info['heatmaps'] else 'no'}", "")


def _training(info: Mapping[str, Any]) -> Iterator[str]:
    training = info["training"]
    yield from ("## Trained on", "", f"- {training['images']:,} images taken to be normal")
    if training["unlabelled"]:
        yield f"- {training['unlabelled']:,} unlabelled images, normal and abnormal"
    if labelled := training.get("labelled"):
        kinds = ", ".join(f"{kind} ({n})" for kind, n in labelled["kinds"].items())
        yield f"- {labelled['images']:,} labelled abnormal images of {labelled['patients']:,} patients" + (
            f": {kinds}" if kinds else ""
        )
    if applies_to := info.get("applies_to"):
        yield f"- It is for {', '.join(applies_to['to'])} ({applies_to['source']})"
    yield f"- Fingerprint `{training['fingerprint'][:16]}`; the file has numbers derived from the images, not these"
    libraries = ", ".join(f"{library} {version}" for library, version in info["libraries"].items())
    yield from (
        f"- Fitted with {libraries}",
        "",
        "*Say here whose images these are, of which devices, years and places,",
    )
    yield from ("how it was made sure that they are normal, and who may use them.*", "")


def _calibration(calibration: Mapping[str, Any], mode: str) -> Iterator[str]:
    yield from ("## Calibration", "")
    if mode == "transductive":
        yield from ("None: scores depend on the batch, so there are no p-values and no flags.", "")
        return
    low, high = calibration["false_alarm_range"]
    bound = (
        f"at most that with a probability of {calibration['confidence']:g}"
        if calibration["confidence"]
        else "on average"
    )
    yield f"- Target false-alarm rate {percent(calibration['alpha'])}, {bound}; this model's own lies between"
    yield f"  {percent(low)} and {percent(high)} (90 % range)"
    yield f"- From {calibration['normals']:,} normals ({calibration['source']})"
    if calibration["threshold"] is None:
        yield "- Too few normals were held out to flag any image"
    else:
        yield f"- Flagged above a score of {calibration['threshold']:.4g}"
        yield f"- The smallest p-value that can occur is {calibration['resolution']:.3g}"
    yield "- It holds for images from the source of these normals; elsewhere `msde calibrate` sets it right"
    yield ""


def _measured(evaluations: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield from ("## Measured", "")
    if not evaluations:
        yield "Nothing yet. `msde evaluate MODEL --normal PATH --abnormal PATH --json FILE` measures it, and"
        yield from ("`msde card MODEL --evaluation NAME=FILE` puts it here.", "")
        return
    yield "| set | normal / abnormal | AUROC (95 %) | AP (95 %; by chance) | normals flagged | abnormal flagged |"
    yield "|---|---|---|---|---|---|"
    for set_name, figures in evaluations.items():
        shares = (figures.get("false_alarm_rate"), figures.get("sensitivity"))
        cells = [
            set_name,
            f"{figures['n_normal']:,} / {figures['n_abnormal']:,}",
            f"{figures['auroc']:.3f} ({figures['auroc_ci'][0]:.3f} to {figures['auroc_ci'][1]:.3f})",
            f"{figures['ap']:.3f} ({figures['ap_ci'][0]:.3f} to {figures['ap_ci'][1]:.3f}; {figures['ap_chance']:.3f})",
            *("–" if share is None else f"{share:.1%}" for share in shares),
        ]
        yield f"| {' | '.join(cells)} |"
    yield ""


def _limits(info: Mapping[str, Any]) -> Iterator[str]:
    yield from ("## Limits", "")
    yield "- A high score says that an image is unlike the normals of the fit, not that it is ill, nor what it shows."
    yield "- Images of another device, protocol, age group or body part may score high for that reason alone."
    yield "- What is abnormal and looks normal to these networks is missed; a flag is one image's, not a patient's."
    if info["calibration"]["units"] < 100:
        yield f"- It is calibrated on {info['calibration']['units']} patients, volumes or images; 100 are advised."
    yield from ("- Protect the file like images: it holds numbers derived from those of the fit.", "")


def _use(name: str) -> Iterator[str]:
    yield from (
        "## Use",
        "",
        "```console",
        "$ pip install msde",
        f"$ msde score {name}.msde images/ -o scores.csv",
        "```",
    )
    yield from ("", f"Written by msde {__version__}.", "")
