from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from msde.backbones import Backbone
from msde.errors import BackboneError

WEIGHTS = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.ones(2, np.float32)}


@pytest.fixture
def tiny() -> Backbone:
    return Backbone(
        name="tiny",
        input_size=8,
        mean=(0.1, 0.2, 0.3),
        std=(1.0, 2.0, 3.0),
        levels=("level1",),
        dim=4,
        licence="MIT",
        source="nowhere",
        graph=b"graph",
        weights=WEIGHTS,
    )


def test_hash_is_the_documented_one(tiny: Backbone) -> None:
    import hashlib

    text = (5).to_bytes(8, "little") + b"graph"
    text += b"a <f4 2\n" + WEIGHTS["a"].tobytes() + b"b <f4 2,3\n" + WEIGHTS["b"].tobytes()
    assert tiny.sha256 == hashlib.sha256(text).hexdigest()


def test_hash_does_not_depend_on_order_or_memory_layout(tiny: Backbone) -> None:
    other = {"a": WEIGHTS["a"].astype(">f4"), "b": np.asfortranarray(WEIGHTS["b"])}
    assert dataclasses.replace(tiny, weights=other).sha256 == tiny.sha256


@pytest.mark.parametrize(
    "change",
    [
        {"graph": b"Graph"},
        {"weights": {**WEIGHTS, "a": np.array([1, 1.5], np.float32)}},
        {"weights": {**WEIGHTS, "b": WEIGHTS["b"].reshape(3, 2)}},
        {"weights": {**WEIGHTS, "a": np.ones(2, np.int32)}},
        {"weights": {"c": WEIGHTS["a"], "b": WEIGHTS["b"]}},
    ],
)
def test_hash_sees_every_change(tiny: Backbone, change: dict[str, Any]) -> None:
    assert dataclasses.replace(tiny, **change).sha256 != tiny.sha256


def test_rebuilt_from_its_description(tiny: Backbone) -> None:
    description = json.loads(json.dumps(tiny.describe()))
    rebuilt = Backbone.from_description(description, tiny.graph, tiny.weights)
    for field in dataclasses.fields(Backbone):
        assert getattr(rebuilt, field.name) == getattr(tiny, field.name)


def test_description_covers_every_field(tiny: Backbone) -> None:
    fields = {field.name for field in dataclasses.fields(Backbone)}
    assert set(tiny.describe()) == fields - {"graph", "weights"} | {"sha256"}


def test_altered_weights_are_refused(tiny: Backbone) -> None:
    with pytest.raises(BackboneError, match="altered"):
        Backbone.from_description(tiny.describe(), tiny.graph, {**WEIGHTS, "a": np.zeros(2, np.float32)})


@pytest.mark.parametrize("wrong", [{"mean": [1, 2]}, {"dim": "many"}, {"std": None}, {"levels": 3}])
def test_invalid_description_is_refused(tiny: Backbone, wrong: dict[str, object]) -> None:
    with pytest.raises(BackboneError, match="invalid description"):
        Backbone.from_description(tiny.describe() | wrong, tiny.graph, tiny.weights)


@pytest.mark.parametrize("key", ["name", "sha256"])
def test_incomplete_description_is_refused(tiny: Backbone, key: str) -> None:
    description = tiny.describe()
    del description[key]
    with pytest.raises(BackboneError, match=f"invalid description.*{key}"):
        Backbone.from_description(description, tiny.graph, tiny.weights)
