import csv
import re
import subprocess
from dataclasses import replace
from itertools import chain

import pytest
from tests.requirements import need

from msde.benchmark.citations import OF_DETECTORS, OF_NETWORKS, OF_SETS, bibliography
from msde.benchmark.config import PUBLISHED, read_config
from msde.benchmark.detectors import DETECTORS
from msde.benchmark.latex import escaped, latex
from msde.benchmark.paper import write_paper
from msde.benchmark.plots import Plot
from msde.benchmark.run import Results
from msde.benchmark.tables import Table

TABLE = Table(
    "Protocol single, r_18",
    "AUROC at 5 %, ± deviation; a → b.",
    ["detector", "set_a", "b", "mean AUROC"],
    [
        ["msde", "0.918 (0.900 to 0.930)", "0.700 ± 0.010", "0.809"],
        ["=knn & co", "+0.271 (-0.179 to +0.363) *", "–", "0.700"],
        ["**mean of 2**", "0.5", "0.5", "0.5"],
    ],
)
WIDE = Table("Wide", "", ["detector", *"abcdef", "mean AUROC"], [["msde", *["0.5"] * 7], ["knn", *["0.4"] * 7]])
OWN = {"autoencoder", "nearest-labelled", "heat-places", "heat-modes", "heat-subspace"}


@pytest.fixture
def results():
    config = read_config(PUBLISHED)
    line = {"versions": {"python": "3.11.7", "msde": "1.0.0"}, "version": "1.0.0", "revision": "0123456789abcdef"}
    sizes = {"RSNA": (3851, 1000, 1000), "BraTS2021": (4211, 828, 1948)}
    return Results(replace(config, title="50 % of {sets}"), [line], [], 1, sizes)


@pytest.fixture
def folder(results, tmp_path):
    drawn = Plot("ROC curves, r_18", "Shown.", ("<svg>\n</svg>", b"%PDF-1.4"))
    write_paper(results, [TABLE, WIDE], [drawn], tmp_path / "paper")
    return tmp_path / "paper"


def test_a_table_in_three_forms(folder):
    with (folder / "table-protocol-single-r-18.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == TABLE.header
    assert rows[2][0] == "'=knn & co"  # no formula for a spreadsheet
    assert rows[3][0] == "mean of 2"
    assert (folder / "table-protocol-single-r-18.md").read_text().startswith("### Protocol single, r_18\n")
    text = (folder / "table-protocol-single-r-18.tex").read_text()
    assert r"\begin{tabular}{lrrr}" in text
    assert r"msde & 0.918 {\footnotesize (0.900 to 0.930)} & 0.700 $\pm$ 0.010 & 0.809 \\" in text
    assert r"=knn \& co & $+0.271$* {\footnotesize ($-$0.179 to $+$0.363)} & -- & 0.700 \\" in text
    assert "\\midrule\n\\textbf{mean of 2} &" in text
    assert r"\caption{Protocol single, r\_18. AUROC at 5 \%, $\pm$ deviation; a $\rightarrow$ b.}" in text


def test_a_wide_table_is_turned():
    lines = list(latex(WIDE, "wide"))
    assert r"detector & msde & knn \\" in lines
    assert lines[lines.index(r"mean AUROC & 0.5 & 0.4 \\") - 1] == r"\midrule"


def test_signs_of_latex_are_taken_as_text():
    assert escaped(r"a\b{c}_^~<#$") == r"a\textbackslash{}b\{c\}\_\textasciicircum{}\textasciitilde{}$<$\#\$"


def test_methods_say_what_was_done_and_cite_it(folder):
    text = (folder / "methods.md").read_text()
    assert "RSNA (chest X-ray [@shih2019augmenting; @cai2025medianomaly]: 3,851 normals to train on" in text
    assert "not at hand: VinCXR, BrainTumor" in text
    assert "resnet18 [@he2016deep; @wightman2019timm] (timm:resnet18.tv_in1k; looks plain:own)" in text
    assert "msde-published [@kar2026medical]" in text
    assert "MSDE 1.0.0 (revision 0123456789ab) with python 3.11.7." in text
    entries = (folder / "references.bib").read_text()
    assert sorted(set(re.findall(r"@([a-z]+\d\w+)", text))) == sorted(
        re.findall(r"^@\w+\{(\w+),", entries, re.MULTILINE)
    )


def test_every_detector_has_its_works_and_every_key_its_entry():
    assert set(DETECTORS) - set(OF_DETECTORS) == OWN
    assert {plan.name for plan in read_config(PUBLISHED).sets} == set(OF_SETS)
    cited = set(chain(*OF_DETECTORS.values(), *OF_SETS.values(), OF_NETWORKS.values()))
    assert cited <= bibliography().keys()


@pytest.mark.slow
def test_the_tables_are_latex(results, tmp_path):
    need("latex")
    write_paper(results, [TABLE, WIDE], [], tmp_path)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
