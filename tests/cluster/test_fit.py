"""What of the embeddings in parts a fit takes, without a cluster."""

from pathlib import Path

import pytest

from msde import AnomalyModel
from msde.cluster.encoders import encoder_file
from msde.cluster.fit import Parts
from msde.cluster.job_folder import JobFolder
from msde.cluster.stored_headers import StoredHeaders
from msde.cluster.worker import PartWorker
from msde.images.patients import Patients


@pytest.mark.slow
def test_landmarks_are_evenly_spaced_rows_of_all_parts_without_copies(network, discs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [str(path) for path in sorted((discs / "train").glob("*.png"))[:11]]
    names[3:3] = [names[0], "gone.png"]
    (tmp_path / "m.csv").write_text("path\n" + "".join(f"{name}\n" for name in names))
    model = AnomalyModel(network)
    job = JobFolder.start(
        str(tmp_path / "out"), "embed", ("m", encoder_file(model.encoder, model.rule)), [str(tmp_path / "m.csv")], 4
    )
    worker = PartWorker(job.storage.url, "cpu")
    for part in range(job.n_parts):
        worker.do(part)
    parts = Parts.of(job)
    usable = [name for number, name in enumerate(names) if number not in (3, 4)]
    assert (len(parts.kept), parts.n_copies, len(parts.errors)) == (11, 1, 1)
    assert parts.starts.tolist() == [0, 4, 8, 12, 13]
    assert [image.name for image in parts.landmarks(5)] == [usable[number] for number in parts.chosen(5)]
    rows, numbers = parts.of_part(1)
    assert [names[4 + row] for row in rows] == [usable[number] for number in numbers]
    patients = parts.groups(StoredHeaders(Patients(r"(\d)\.png", headers=False)))
    assert [int(Path(name).stem[-1]) for name in usable] == [*range(10), 0]
    assert patients.tolist() == [*range(10), 0]
    assert set(parts.groups(StoredHeaders(Patients(headers=False))).tolist()) == {-1}
