from dataclasses import replace

import numpy as np
import pytest
from tests.pretrain.conftest import TINY
from tests.requirements import need

from msde.errors import BackboneError, DataError
from msde.pretrain import trainer
from msde.pretrain.network import load_start
from msde.pretrain.self_validation import SelfValidation
from msde.pretrain.tasks import TASKS
from msde.pretrain.tensorfile import read_tensors
from msde.pretrain.trainer import train
from msde.pretrain.training_state import Training, TrainingPlan, batch

need("torch")
import torch  # noqa: E402

pytestmark = pytest.mark.torch

SHORT = TrainingPlan(steps=8, batch=4, measurements=2, rate=1e-3)


class KilledError(Exception):
    pass


def state_of(encoder):
    return {name: tensor.clone() for name, tensor in encoder.network.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def start(random=True):
    encoder = load_start(TINY, None, random=True)
    return encoder if random else replace(encoder, random=False)


@pytest.mark.parametrize("task", TASKS)
def test_batches_depend_on_seed_and_step_alone(normals, task):
    plan = replace(SHORT, task=task)
    pixels, kinds, rows = batch(normals, plan, 3)
    assert set(rows) <= set(normals.learning)
    assert pixels.dtype == np.float32
    assert pixels.shape == (4 * (1 + len(TASKS[task])), 3, 32, 32)
    assert np.bincount(kinds).tolist() == [4] * (1 + len(TASKS[task]))
    assert (batch(normals, plan, 3).pixels == pixels).all()
    assert (batch(normals, plan, 4).pixels != pixels).any()
    assert (batch(normals, replace(plan, seed=1), 3).pixels != pixels).any()


def test_a_batch_is_never_of_held_out_normals(normals):
    from msde.pretrain.images import PretrainImages

    dark = normals.pixels.copy()
    dark[normals.held_out] = 255
    only = PretrainImages(dark, normals.anatomy, normals.learning, normals.held_out, [])
    for step in range(20):
        assert batch(only, SHORT, step).pixels[:4].mean(axis=(1, 2, 3)).max() < 0.9


@pytest.mark.parametrize(
    ("task", "random"),
    [pytest.param("anatpaste", True, marks=pytest.mark.slow), ("cutpaste-3way", True), ("cutpaste", False)],
)
def test_training_lowers_the_loss(normals, tmp_path, task, random):
    losses = []
    plan = replace(SHORT, task=task, steps=40, rate=2e-3, measurements=1)
    train(start(random), normals, plan, tmp_path / "c", lambda now: losses.append(now.loss))
    assert np.mean(losses[-10:]) < np.mean(losses[1:11]) - 0.02


@pytest.mark.slow
@pytest.mark.parametrize("random", [True, False])
def test_a_resumed_training_ends_as_one_that_never_stopped(normals, tmp_path, monkeypatch, random):
    monkeypatch.setattr(trainer, "SAVED_EVERY", 3)
    whole = start(random)
    best = train(whole, normals, SHORT, tmp_path / "whole")

    def killer(now):
        if now.step == 5:
            raise KilledError

    with pytest.raises(KilledError):
        train(start(random), normals, SHORT, tmp_path / "c", killer)
    seen = []
    resumed = start(random)
    again = train(resumed, normals, SHORT, tmp_path / "c", lambda now: seen.append(now.step))
    assert seen[0] == 4  # saved when it was measured
    assert (again.step, again.qualities) == (best.step, best.qualities)
    assert same(state_of(resumed), state_of(whole))
    (one, facts), (other, same_facts) = (read_tensors(tmp_path / name) for name in ("c", "whole"))
    assert facts == same_facts
    assert one.keys() == other.keys()
    assert same(one, other)


def test_the_best_weights_win_and_the_start_is_one_of_them(normals, tmp_path, monkeypatch):
    qualities = iter([0.9, 0.5, 0.6])
    monkeypatch.setattr(SelfValidation, "of", lambda *_: next(qualities))
    encoder = start(random=False)
    before = state_of(encoder)
    best = train(encoder, normals, SHORT, tmp_path / "c")
    assert best.step == 0
    assert best.qualities == {0: 0.9, 4: 0.5, 8: 0.6}
    assert same(before, state_of(encoder))


def test_a_trained_start_keeps_its_first_layers_and_statistics(normals, tmp_path, monkeypatch):
    monkeypatch.setattr(SelfValidation, "of", lambda *_: 0.5)
    encoder = start(random=False)
    before = state_of(encoder)
    training = Training(encoder, normals, SHORT)
    training.advance(batch(normals, SHORT, 0))
    after = state_of(encoder)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not any("running" in name or name.startswith(("conv1", "bn1", "layer1.")) for name in changed)
    assert changed <= set(training.weights())


def test_a_checkpoint_of_another_run_is_refused(normals, tmp_path):
    train(start(), normals, replace(SHORT, steps=2), tmp_path / "c")
    with pytest.raises(DataError, match="c: is of a run with other images, settings or start; delete it"):
        train(start(), normals, replace(SHORT, seed=1), tmp_path / "c")


def test_a_loss_that_is_not_finite_is_told(normals, tmp_path):
    with pytest.raises(BackboneError, match="no longer finite"):
        train(start(), normals, replace(SHORT, rate=1e30, head_rate=1e30), tmp_path / "c")


def test_a_size_that_the_network_does_not_take_is_told(normals, tmp_path):
    with pytest.raises(BackboneError, match="takes no images of 32 x 32 px; leave --input-size out"):
        train(load_start("timm:vit_tiny_patch16_224", None, random=True), normals, SHORT, tmp_path / "c")


@pytest.mark.slow
def test_fidelity_keeps_normals_where_the_start_puts_them(normals):
    def drift(fidelity):
        training = Training(start(random=False), normals, replace(SHORT, fidelity=fidelity, steps=30, rate=2e-4))
        for step in range(30):
            training.advance(batch(normals, SHORT, step))
        rows = torch.from_numpy(normals.learning)
        return float(training.anchor.drift(torch.from_numpy(training.embed(normals.images(normals.learning))), rows))

    assert drift(1000.0) < drift(0.0) / 2


def test_a_random_start_has_no_anchor(normals):
    assert Training(start(), normals, SHORT).anchor is None
