"""Settings of the documentation site, which `make docs` builds of the Markdown pages here and of the root's.

The pages stay readable as they are on a code host: what the site adds is made here. docs/README.md is the index, and
its lists are the navigation; and notebooks become pages.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from msde import __version__

INDEX = "docs/README"

project = "MSDE"
copyright = "the MSDE authors, Apache License 2.0"
release = version = __version__
root_doc = INDEX
extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown", ".ipynb": "markdown"}
include_patterns = ["docs/**.md", "docs/notebooks/*.ipynb", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
exclude_patterns = [".*", "benchmarks", "build", "deploy", "site", "src", "tests", "tools", "msde-demo"]

# What is named has to be there.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(numpy|PIL|click|sklearn|pydicom|collections|pathlib|os)\b.*")]
suppress_warnings = ["myst.header"]  # a page may begin with what another has as its third level

myst_heading_anchors = 4
smartquotes = False  # two hyphens begin an option

autodoc_typehints = "none"  # the docstrings have them in words
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
add_module_names = False
python_display_short_literal_types = True

html_theme = "furo"
html_title = f"MSDE {release}"
html_static_path = ["site"]
html_css_files = ["site.css"]
html_extra_path = ["site/index.html"]
html_show_sphinx = False
html_copy_source = False
html_show_search_summary = False  # it would fetch pages, which a browser refuses where they are files
html_theme_options: dict[str, Any] = {
    "announcement": "For research use only. Not a medical device.",
    "navigation_with_keys": True,
    "light_css_variables": {"color-brand-primary": "#0b5c8c", "color-brand-content": "#0b5c8c"},
    "dark_css_variables": {"color-brand-primary": "#6fc0ec", "color-brand-content": "#6fc0ec"},
}

ENTRY = re.compile(r"^- \[(.+?)\]\((.+?)\)", re.MULTILINE)


def navigation(text: str) -> str:
    """Return the lists of the index as tables of contents, one a section."""
    tables = []
    for section in text.split("\n## ")[1:]:
        caption = section.partition("\n")[0]
        entries = [f"{title} <{Path(page).with_suffix('')}>" for title, page in ENTRY.findall(section)]
        tables.append("\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *entries, "```"]))
    return "\n\n".join(tables)


def notebook_page(notebook: dict[str, Any]) -> str:
    """Return a notebook and its stored outputs as a page."""
    blocks = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            blocks.append(source)
            continue
        blocks.append(_fenced("python", source))
        blocks += [_output(output) for output in cell["outputs"]]
    return "\n\n".join(blocks)


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "text/html" in data:
        return _fenced("{raw} html", f'<div class="output">{"".join(data["text/html"])}</div>')
    if "image/png" in data:
        picture = "".join(data["image/png"]).strip()
        return _fenced("{raw} html", f'<img class="output" alt="" src="data:image/png;base64,{picture}">')
    return _fenced("text", "".join(output.get("text") or data["text/plain"]).rstrip())


def _fenced(kind: str, text: str) -> str:
    return f"~~~~~~{kind}\n{text}\n~~~~~~"


def _read(_: Sphinx, page: str, source: list[str]) -> None:
    """Make Markdown for the site of what a page's file holds."""
    if page == INDEX:
        source[0] += "\n" + navigation(source[0])
    elif page.startswith("docs/notebooks/"):
        source[0] = notebook_page(json.loads(source[0]))


def setup(app: Sphinx) -> None:
    """Have pages read by `_read`."""
    app.connect("source-read", _read)
