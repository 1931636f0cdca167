"""Texts of messages: what stands between, and names of fields as ``$name`` or ``${name}``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from types import MappingProxyType

from msde.errors import DataError

FIELDS = (
    *("event", "time", "time_hl7", "scored", "scored_hl7", "study", "images", "image", "modality", "body_part"),
    *("model", "version", "p_value", "anomaly_score", "words", "url", "msde"),
)
"""What a template may name."""
IDENTIFIERS = (
    *("patient_id", "patient_name", "family", "given", "birth_year", "sex", "accession"),
    *("study_date", "study_date_hl7", "study_description", "station", "study_uid"),
)
"""What it may name where identifiers are asked for."""


def _in_json(value: str) -> str:
    return json.dumps(value)[1:-1]


def _in_hl7(value: str) -> str:
    r"""Write a value so that none of it is taken for a separator, nor begins a segment.

    Examples
    --------
    >>> _in_hl7("a|b^c\rPID|1")
    'a\\F\\b\\S\\c PID\\F\\1'
    """
    separators = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}
    return "".join(separators.get(sign, sign) if sign.isprintable() else " " for sign in value)


ESCAPES: Mapping[str, Callable[[str], str]] = MappingProxyType({"webhook": _in_json, "fhir": _in_json, "hl7": _in_hl7})
_BUILT_IN = {"webhook": "json", "fhir": "json", "hl7": "hl7"}


class MessageTemplate:
    """A template of a kind of receiver.

    Parameters
    ----------
    kind : {"webhook", "hl7", "fhir"}
    file : Path or None
        None for the one that comes with the package.
    identifiers : bool
        Whether identifiers may stand in it.

    Raises
    ------
    DataError
        If the file cannot be read, or names what is no field, or an identifier where none are asked for.
    """

    def __init__(self, kind: str, file: Path | None, *, identifiers: bool) -> None:
        self.kind = kind
        built_in = files("msde.serve.notify") / "templates"
        beside = "-identifiers" if identifiers else ""
        try:
            if file is None:
                text = (built_in / f"{kind}{beside}.{_BUILT_IN[kind]}").read_text("utf-8")
            else:
                text = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file}: cannot be read as a template: {error}") from None
        name = file or f"the template of {kind}"
        self._template = Template(text)
        if not self._template.is_valid():
            raise DataError(f"{name}: has a $ that names no field; write $$ for the sign itself")
        named = set(self._template.get_identifiers())
        if odd := sorted(named.difference(FIELDS, IDENTIFIERS)):
            raise DataError(f"{name}: {odd[0]} is no field; docs/notifications.md lists them")
        if not identifiers and (personal := sorted(named.intersection(IDENTIFIERS))):
            raise DataError(f"{name}: {personal[0]} tells the patient; give identifiers = true to have it sent")
        if kind != "hl7":
            self._check_json(str(name))

    def fill(self, values: Mapping[str, str]) -> str:
        """Put values into the places of their names; none can end the text around it."""
        escape = ESCAPES[self.kind]
        return self._template.substitute({name: escape(value) for name, value in values.items()})

    def _check_json(self, name: str) -> None:
        numbers = {"version", "images", "image", "p_value", "anomaly_score"}
        try:
            filled = json.loads(
                self.fill({field: "1" if field in numbers else "x" for field in (*FIELDS, *IDENTIFIERS)})
            )
        except ValueError as error:
            raise DataError(f"{name}: is no JSON when it is filled ({error})") from None
        if self.kind == "fhir" and not isinstance(filled.get("resourceType"), str):
            raise DataError(f"{name}: has no resourceType, so it is no resource of FHIR")
