from dataclasses import replace

import numpy as np
import pytest

from msde.benchmark.detectors import DETECTORS, Detector, Lesson
from msde.benchmark.draws import Split, Subset
from msde.benchmark.protocols import PROTOCOLS, Subject, label_free_quality
from msde.errors import DataError
from msde.method.calibration import Calibration


class Watcher:
    """A detector that notes what it is shown; a row's score is its first column."""

    def __init__(self, **kind):
        self.lessons, self.labels, self.batches = [], [], []
        self.detector = Detector(self.fit, "a watcher", **kind)

    def fit(self, lesson):
        self.lessons.append(lesson)

        def score(rows):
            self.batches.append(rows)
            return rows[:, 0].astype(float)

        return score

    def teach(self, lesson):
        def fit(labels):
            self.labels.append(labels)
            return self.fit(lesson)

        return fit

    @classmethod
    def of_labels(cls):
        watcher = cls()
        watcher.detector = replace(watcher.detector, teach=watcher.teach)
        return watcher


def parts(rng, n=60, m=40, shift=2.0):
    """Column 0 tells abnormal from normal, column 1 is the patient, column 2 the label; two images a patient."""
    patients = np.arange(n + m) // 2
    values = np.concatenate([rng.normal(size=n), rng.normal(shift, 1, size=m)])
    labels = np.repeat([0, 1], [n, m])
    rows = np.stack([values, patients, labels], axis=1)
    train = np.stack([rng.normal(size=50), np.full(50, -1), np.zeros(50)], axis=1)
    return Split(Subset(train, np.full(50, -1)), Subset(rows[:n], patients[:n]), Subset(rows[n:], patients[n:]))


def run(protocol, watcher, given, condition=None, seed=0, other=None):
    def fit(rows, pool=None):
        return watcher.detector.fit(Lesson(rows, pool=pool))

    teach = watcher.detector.teach and watcher.detector.teach(Lesson(given.train.rows))
    subject = Subject(given, watcher.detector, fit, lambda: fit(given.train.rows), lambda name: other, teach=teach)
    return PROTOCOLS[protocol].run(subject, condition, np.random.default_rng(seed))


def test_published_shows_the_pool_without_order(rng):
    watcher, given = Watcher(pooled=True), parts(rng)
    outcome = run("published", watcher, given)
    pool = watcher.lessons[0].pool
    assert len(pool) == 100
    assert (np.diff(pool[:, 2]) < 0).any()
    assert outcome.figures["auroc_low"] < outcome.figures["auroc"] < outcome.figures["auroc_high"]
    np.testing.assert_array_equal(outcome.labelled.scores[:60], given.normal.rows[:, 0])
    np.testing.assert_array_equal(outcome.labelled.patients, np.arange(100) // 2)


def test_single_refuses_a_detector_that_looks_at_the_batch(rng):
    given = parts(rng)
    assert run("single", Watcher(), given).figures["auroc"] > 0.8
    strange = Watcher()
    strange.detector = Detector(lambda lesson: lambda rows: rows[:, 0] - rows[:, 0].mean(), "of the batch")
    with pytest.raises(DataError, match="alone"):
        run("single", strange, given)


def test_single_tells_the_false_alarms_of_a_detector_that_calibrates_itself(rng):
    given = parts(rng)
    held_out = Calibration(np.linspace(-3, 3, 199), 0.5, "held-out patients")

    def run_with(calibration):
        watcher = Watcher()

        def fit(rows, pool=None):
            return watcher.detector.fit(Lesson(rows, pool=pool))

        subject = Subject(
            given, watcher.detector, fit, lambda: fit(given.train.rows), lambda name: given, 0.05, calibration
        )
        return PROTOCOLS["single"].run(subject, None, np.random.default_rng(0)).figures

    assert not any(name.startswith("false_alarms") for name in run_with(None))
    figures = run_with(lambda: held_out)
    normals = given.normal.rows[:, 0]
    for alpha, name in ((0.01, "false_alarms_01"), (0.05, "false_alarms_05"), (0.1, "false_alarms_10")):
        assert figures[name] == np.mean(normals > held_out.scores[-round(200 * alpha)])


def test_the_default_calibrates_itself_by_patient(rng):
    normals = np.repeat(rng.normal(size=(30, 4)), 3, axis=0) + 0.1 * rng.normal(size=(90, 4))
    patients = np.repeat(np.arange(30), 3)
    calibrate = DETECTORS["msde"].calibrate
    assert calibrate is not None
    assert calibrate(Lesson(normals, patients=patients)).n_units == 30
    assert calibrate(Lesson(normals, patients=np.zeros(90, int))).n_units == 90
    assert DETECTORS["gde"].calibrate is None


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_pool_and_scored_images_are_of_different_patients_at_the_share(rng, share):
    watcher, given = Watcher(pooled=True), parts(rng)
    run("prevalence", watcher, given, share)
    pool, scored = watcher.lessons[0].pool, watcher.batches[0]
    assert not set(pool[:, 1]) & set(scored[:, 1])
    assert pool[:, 2].mean() == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_batches_have_the_share(rng, share):
    watcher = Watcher(batchwise=True)
    outcome = run("prevalence", watcher, parts(rng), share)
    assert all(batch[:, 2].mean() == pytest.approx(share, abs=0.03) for batch in watcher.batches)
    assert 0.5 < outcome.figures["auroc"] <= 1


def test_precision_falls_with_the_share_and_auroc_does_not(rng):
    given = parts(rng)
    few, many = (run("prevalence", Watcher(), given, share).figures for share in (0.01, 0.5))
    assert few["auroc"] == pytest.approx(many["auroc"])
    assert few["ap"] < many["ap"]


def test_hidden_patients_are_not_scored(rng):
    watcher, given = Watcher(), parts(rng)
    outcome = run("contamination", watcher, given, 0.1)
    mixed = watcher.lessons[0].normals
    hidden = mixed[mixed[:, 2] == 1]
    assert len(hidden) == outcome.figures["n_hidden"] == 6
    assert mixed[:, 2].mean() == pytest.approx(0.1, abs=0.02)
    assert all(not set(hidden[:, 1]) & set(batch[:, 1]) for batch in watcher.batches)
    assert outcome.figures["lost"] == 0


def test_too_many_hidden_images_are_refused(rng):
    with pytest.raises(DataError, match="too few"):
        run("contamination", Watcher(), parts(rng, m=14), 0.2)


def test_few_normals_are_drawn_from_the_training_normals(rng):
    watcher, given = Watcher(), parts(rng)
    for condition in (10, "all"):
        run("few-normals", watcher, given, condition)
    drawn, whole = (lesson.normals for lesson in watcher.lessons)
    assert len(drawn) == 10
    assert set(drawn[:, 0]) <= set(whole[:, 0])
    assert len(whole) == 50


def test_local_normals_repair_the_false_alarms_of_another_site(rng):
    here, there = parts(rng), parts(rng)
    train, normal, abnormal = (
        Subset(part.rows + [3, 0, 0], part.patients) for part in (there.train, there.normal, there.abnormal)
    )
    moved = Split(train, normal, abnormal)
    figures = run("cross-site", Watcher(), here, "there", other=moved).figures
    assert figures["false_alarms_own"] > 0.5
    assert figures["false_alarms_local"] < 0.2


def with_kinds(rng):
    """Abnormals of two kinds, in turns by patient, and some of which nothing is known."""
    given = parts(rng)
    kinds = np.array(["a", "b"])[np.arange(40) // 2 % 2].astype("<U1")
    kinds[-4:] = ""
    return Split(given.train, given.normal, given.abnormal, kinds)


def test_labels_of_a_draw_grow_and_are_of_other_patients_than_what_is_scored(rng):
    watcher, given = Watcher.of_labels(), parts(rng)
    for k in (1, 3, 1000):
        outcome = run("few-labels", watcher, given, k)
    few, some, all_of_half = watcher.labels
    np.testing.assert_array_equal(few.rows, some.rows[:1])
    np.testing.assert_array_equal(some.rows, all_of_half.rows[:3])
    assert len(all_of_half) == outcome.figures["n_labels"] == 20
    assert (all_of_half.rows[:, 2] == 1).all()
    for labels, lesson, batch in zip(watcher.labels, watcher.lessons, watcher.batches, strict=True):
        assert not set(labels.patients) & set(batch[:, 1])
        assert (lesson.normals == given.train.rows).all()
        assert (batch[:, 2] == 1).sum() == 20


def test_who_takes_no_labels_scores_the_same_images(rng):
    given, blind, taught = parts(rng), Watcher(), Watcher.of_labels()
    for watcher in (blind, taught):
        run("few-labels", watcher, given, 3)
    assert not blind.labels
    assert len(taught.labels) == 1
    np.testing.assert_array_equal(blind.batches[0], taught.batches[0])


def test_each_kind_is_labelled_once_and_the_others_scored(rng):
    watcher, given = Watcher.of_labels(), with_kinds(rng)
    outcome = run("open-set", watcher, given, 3)
    assert outcome.figures["n_kinds"] == 2
    assert outcome.figures["auroc_worst_kind"] <= outcome.figures["auroc"]
    kind_of = dict(zip(map(tuple, given.abnormal.rows), given.kinds.tolist(), strict=True))
    for labelled, scored, labels, batch in zip("ab", "ba", watcher.labels, watcher.batches, strict=True):
        assert {kind_of[tuple(row)] for row in labels.rows} == {labelled}
        assert {kind_of[tuple(row)] for row in batch[batch[:, 2] == 1]} == {scored}
        assert len(labels) <= 3
        assert not set(labels.patients) & set(batch[:, 1])


def test_one_kind_alone_is_refused(rng):
    given = with_kinds(rng)
    given.kinds[:] = "a"
    with pytest.raises(DataError, match="two kinds"):
        run("open-set", Watcher.of_labels(), given, 3)


def test_label_free_quality_sees_no_row_twice(rng):
    watcher, given = Watcher(), parts(rng)
    fit = lambda rows: watcher.fit(Lesson(rows))  # noqa: E731
    subject = Subject(given, watcher.detector, fit, lambda: fit(given.train.rows), lambda name: given)
    assert 0.5 < label_free_quality(subject) < 1
    assert len(watcher.lessons[0].normals) == 40
    assert not set(watcher.lessons[0].normals[:, 0]) & set(watcher.batches[0][:, 0])


def test_who_takes_part():
    assert not PROTOCOLS["single"].takes(DETECTORS["msde-published"])
    assert not PROTOCOLS["few-normals"].takes(DETECTORS["msde-adaptive"])
    assert all(PROTOCOLS["published"].takes(one) for one in DETECTORS.values() if one.teach is None)
    assert not any(PROTOCOLS["published"].takes(one) for one in DETECTORS.values() if one.teach)
    assert PROTOCOLS["few-labels"].takes(DETECTORS["shrunk-lda"])
    assert PROTOCOLS["open-set"].takes(DETECTORS["msde"])
    assert not PROTOCOLS["open-set"].takes(DETECTORS["msde-adaptive"])
