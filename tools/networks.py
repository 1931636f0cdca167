"""The networks' parts of docs/networks.md: what the registry says of each, and what it costs as measured.

Run: python tools/networks.py [--write]     (prints the parts, or puts them into docs/networks.md)
"""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path
from typing import Any

from msde.backbones.known import registry
from msde.backbones.registry import LOADERS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "networks.md"
COSTS = ROOT / "benchmarks" / "networks.csv"
BLOCK = re.compile(r"(?<=<!-- by tools/networks\.py -->\n).*", re.DOTALL)
POOLINGS = {
    "levels": "the means of four levels",
    "cls": "the class token",
    "mean": "the mean of the patches",
    "cls+mean": "class token and mean of the patches",
    "projection": "the embedding that is compared with texts",
}
CONVOLUTIONS = "`plain:mean+std stretched:mean`: four levels, two passes"

Entry = dict[str, Any]


def costs() -> dict[str, dict[str, str]]:
    """Return the rows of the measurement, by the network's name."""
    with COSTS.open(encoding="utf-8", newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def files_of(entry: Entry) -> str:
    """Say what has to be fetched, how large it is and whether terms have to be accepted."""
    if entry["loader"] == "builtin":
        extra = f"`pip install 'msde[{entry['extra']}]'`" if entry["extra"] else "nothing"
        return f"{extra} ({entry['file_size']})"
    gate = "; gated: accept its terms there first" if entry["gated"] else ""
    return f"{entry['file']}; {entry['file_size']}{gate}"


def commands(name: str, entry: Entry) -> str:
    """Say how the network is used."""
    if entry["loader"] == "builtin":
        return f"`msde fit NORMALS -o model.msde --backbone {name}`"
    extra = LOADERS[entry["loader"]].extra
    folder = "FOLDER" if " and " in entry["file"] else "FILE"
    install = f"`pip install 'msde[{extra}]'`, then"
    use = f"{install} `msde fit NORMALS -o model.msde --backbone {name} --checkpoint {folder}`"
    return use + (f"; or, to download, `--backbone {entry['download']}`" if "download" in entry else "")


def cost_of(row: dict[str, str] | None) -> str:
    """Say what the network costs."""
    if row is None:
        return "not measured"
    part = f", from {row['share']} of its blocks" if row["share"] != "1" else ""
    return f"{row['images_per_second']} images/s, {row['megabytes']} MB in float32{part}"


def part_of(name: str, entry: Entry, row: dict[str, str] | None) -> str:
    """Return a network's part of the page as Markdown."""
    own = POOLINGS[entry["pooling"]] if entry["pooling"] != "mean" or "looks" in entry else "the mean of the last map"
    look = f"`{' '.join(entry['looks'])}`: {own}, one pass" if "looks" in entry else CONVOLUTIONS
    rows = {
        "for": entry["modality"],
        "fetch": files_of(entry),
        "licence": entry["licence"],
        "use": commands(name, entry),
        "trained on": entry["trained_on"],
        "described in": entry["paper"],
        "default look": look,
        "embedding of its own": f"{own}, {entry['dim']} numbers",
        "input": f"{entry['input_size']} px, {'grey' if entry['channels'] == 1 else 'RGB'}",
        "cost": cost_of(row),
        "known": entry.get("known", "nothing on anomaly detection from normals that we know of"),
    }
    if entry["loader"] != "builtin":
        rows["not measured"] = "AUROC and heat maps with its weights"
    lines = [f"### {name}", "", f"{entry['about'][0].upper()}{entry['about'][1:]}.", "", "| | |", "|---|---|"]
    return "\n".join([*lines, *(f"| {key} | {value} |" for key, value in rows.items()), ""])


def overview(name: str, row: dict[str, str] | None, entry: Entry) -> str:
    """Return a network's row of the table at the top."""
    speed, size, grid = (row["images_per_second"], row["megabytes"], row["grid"]) if row else ("", "", "")
    link = re.sub(r"[^\w -]", "", name.lower()).replace(" ", "-")
    gated = "yes" if entry["gated"] else ""
    return f"| [{name}](#{link}) | {entry['modality']} | {entry['input_size']} | {grid} | {speed} | {size} | {gated} |"


def page_parts() -> str:
    """Return the table of all networks, and a part for each."""
    measured, known = costs(), registry()
    table = [
        "| network | for | px | finest map | images/s | MB | gated |",
        "|---|---|---|---|---|---|---|",
        *(overview(name, measured.get(name), entry) for name, entry in known.items()),
    ]
    parts = [part_of(name, entry, measured.get(name)) for name, entry in known.items()]
    return "\n".join([*table, "", *parts]).rstrip("\n") + "\n"


def main() -> None:
    if "--write" in sys.argv[1:]:
        PAGE.write_text(BLOCK.sub(lambda _: page_parts(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(page_parts(), end="")


if __name__ == "__main__":
    main()
