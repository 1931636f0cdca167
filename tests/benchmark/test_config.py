from pathlib import Path

import pytest

from msde.benchmark.config import PUBLISHED, read_config, with_weights
from msde.errors import DataError


def test_the_committed_files_are_whole():
    shared = read_config(Path(__file__).parents[2] / "benchmarks/shared.toml")
    assert {one.name for one in shared.protocols} == {
        "published",
        "single",
        "prevalence",
        "contamination",
        "few-normals",
        "cross-site",
        "few-labels",
        "open-set",
    }
    published = read_config(PUBLISHED)
    assert [one.published["auroc"] for one in published.sets] == [0.918, 0.819, 0.981, 0.81, 0.705, 0.812, 0.736]
    assert [one.published["ap"] for one in published.sets] == [0.906, 0.797, 0.981, 0.831, 0.638, 0.82, 0.867]


def test_weights_go_to_the_backbone_that_would_fetch_them(toml, tmp_path):
    published = with_weights(read_config(PUBLISHED), tmp_path / "resnet18.safetensors")
    assert [plan.checkpoint for plan in published.backbones] == ["", str(tmp_path / "resnet18.safetensors")]
    with pytest.raises(DataError, match="of one backbone that needs weights, and 0 do"):
        with_weights(published, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match=r"and 0 do; give each its own in the TOML file, as backbones.NAME.checkpoint"):
        with_weights(read_config(toml), tmp_path / "w")
    toml.write_text(
        toml.read_text().replace(
            "[protocols.single]",
            '[backbones.own]\nnetworks = ["resnet18.tv_in1k"]\ncheckpoint = "w.pth"\n[protocols.single]',
        )
    )
    assert read_config(toml).backbones[1].checkpoint == "w.pth"


def test_what_is_left_out_has_a_default(toml):
    config = read_config(toml)
    assert config.draws == 5
    assert config.backbones[0].networks == ("efficientnet_lite0",)
    assert config.sets[0].folder == "here"
    assert config.protocols[0].detectors == config.detectors


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('title = "Discs"', "", "title"),
        ('title = "Discs"', "title = 3", "title"),
        ('title = "Discs"', 'title = "Discs"\ndraws = 4', "draws"),
        ('title = "Discs"', 'title = "Discs"\ndraws = true', "draws"),
        ('title = "Discs"', 'title = "Discs"\nalpha = 1.5', "alpha"),
        ('title = "Discs"', 'title = "Discs"\nspeed = 9', "speed"),
        ('"displacement"]', '"dispacement"]', "dispacement"),
        ('"displacement"]', '"displacement", "msde"]', "detectors"),
        ('"displacement"]', '"pyod:nothing.There"]', "nothing"),
        ("auroc = 0.9", "auroc = 9", "sets.there.published.auroc"),
        ("auroc = 0.9", "roc = 0.9", "sets.there.published.roc"),
        ("[sets.here]", "[sets.here]\npatient = '('", "sets.here.patient"),
        ("kind = '", "kind = '(", "sets.here.kind"),
        ("[sets.here]", "[sets.here]\nstarts = [1, 5]", "sets.here.starts"),
        ("[sets.here]", "[sets.here]\npatient = 'a'\nstarts = [5, 1]", "sets.here.starts"),
        ("[backbones.efficientnet_lite0]", "[backbones.efficientnet_lite0]\nlooks = ['side']", "side"),
        ("[protocols.single]", "[protocols.double]", "protocols.double"),
        ("[protocols.single]", "[protocols.single]\ndetectors = ['lof']", "lof"),
        ("conditions = [0.1, 0.5]", "conditions = [1.5]", "1.5"),
        ('conditions = [5, 100, "all"]', "conditions = [1]", "1"),
        ("conditions = [1, 3]", "conditions = [0]", "0"),
        ("conditions = [2]", "conditions = ['all']", "all"),
        ("[protocols.single]", "[protocols.single", "TOML"),
    ],
)
def test_a_slip_is_named_in_one_line(toml, old, new, named):
    text = toml.read_text()
    assert old in text
    toml.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=named) as caught:
        read_config(toml)
    assert str(caught.value).startswith(str(toml))
    assert "\n" not in str(caught.value).strip()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="none.toml"):
        read_config(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("name", "file", "patient"),
    [
        ("bloodsmear_leukemia", "WBC-Malignant-Early-902.jpg", "WBC-Malignant-Early-90"),
        ("bloodsmear_leukemia", "WBC-Benign-089.jpg", "WBC-Benign-08"),
        ("brain_mri_nickparvar", "notumor__Tr-no_0061.jpg", None),
        ("colonoscopy_polyp_tiles", "mucosa_025_40_104.jpg", "1"),
        ("colonoscopy_polyp_tiles", "polyp_026_40_104.jpg", "2"),
        ("colonoscopy_polyp_tiles", "polyp_612_40_104.jpg", "29"),
        ("ct_covid_sarscov2", "Non_Covid_320.jpg", "Non_Covid_32"),
        ("ct_covid_sarscov2", "Covid_7.jpg", "Covid_"),
        ("ct_ich_phe", "0032_10.jpg", "0032"),
        ("cytology_sipakmed_cervix", "Koilo_137_02.jpg", "Koilo_137"),
        ("lgg_flair_hemispheres", "TCGA_DU_A5TP_19970614_18_R.jpg", "TCGA_DU_A5TP"),
        ("mri_dwi_stroke", "2_149.jpg", "2_14"),
        ("nih_cxr_pneumonia", "00003867_004.jpg", "00003867"),
        ("us_lung_pocus", "Reg_Avi_Video_003_f04.jpg", "Reg_Avi_Video_003"),
        ("xray_knee_osteoarthritis", "KL4_9393987R.jpg", "9393987"),
    ],
)
def test_names_of_the_committed_file_tell_the_patient(name, file, patient):
    shared = read_config(Path(__file__).parents[2] / "benchmarks/shared.toml")
    plan = next(plan for plan in shared.sets if plan.name == name)
    assert plan.patient_of(file) == patient


@pytest.mark.parametrize(
    ("name", "file", "kind"),
    [
        ("bloodsmear_leukemia", "WBC-Malignant-Early-902.jpg", "early"),
        ("brain_mri_nickparvar", "glioma__Te-glTr_0008.jpg", "glioma"),
        ("brain_mri_nickparvar", "notumor__Tr-no_0061.jpg", ""),
        ("otoscopy_otitis", "test_mi10.jpg", "mi"),
        ("us_lung_pocus", "pneu_radiopaeda_f03.jpg", "pneu"),
        ("xray_knee_osteoarthritis", "KL4_9393987R.jpg", "kl4"),
        ("nih_cxr_pneumonia", "00003867_004.jpg", ""),
    ],
)
def test_names_of_the_committed_file_tell_the_kind(name, file, kind):
    shared = read_config(Path(__file__).parents[2] / "benchmarks/shared.toml")
    assert next(plan for plan in shared.sets if plan.name == name).kind_of(file) == kind


def test_starts_need_a_number(toml):
    toml.write_text(toml.read_text().replace("[sets.here]", "[sets.here]\npatient = '[a-z]'\nstarts = [1, 5]", 1))
    with pytest.raises(DataError, match=r"sets\.here\.patient"):
        read_config(toml).sets[0].patient_of("a1.png")
