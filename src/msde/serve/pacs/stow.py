"""STOW-RS: DICOM objects by POST, as part 18 of the standard has it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from msde.errors import ImageError
from msde.serve.errors import Postponed, TooLarge
from msde.serve.intake.image_rows import Sender
from msde.serve.pacs.instance import Instance
from msde.serve.pacs.intake import Fate, Intake

ORIGIN = "stow"
# Failure reasons of part 18, I.2.2, and of part 4.
NO_SUCH_CLASS = 0x0122
WRONG_STUDY = 0x0110
DUPLICATE = 0x0111
OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC000
_REASONS = {
    Fate.NO_PICTURE: NO_SUCH_CLASS,
    Fate.REFUSED: CANNOT_UNDERSTAND,
    Fate.OTHER_PIXELS: DUPLICATE,
}
_BUSY_SECONDS = 30


@dataclass
class Answer:
    """What became of the objects of a request.

    Parameters
    ----------
    stored : list of Instance
    failed : list of (Instance or None, int)
        With the failure reason; None for an object that cannot be read.
    retry_after : int or None
        Seconds after which what was refused for want of room should be sent again.
    """

    stored: list[Instance] = field(default_factory=list)
    failed: list[tuple[Instance | None, int]] = field(default_factory=list)
    retry_after: int | None = None

    def add(self, content: bytes, study: str | None, sender: Sender, intake: Intake) -> None:
        """Take an object in and note what became of it.

        Parameters
        ----------
        content : bytes
            A DICOM file.
        study : str or None
            UID of the study that it has to be of.
        sender : Sender
        intake : Intake
        """
        try:
            instance = intake.read(content, sender)
        except ImageError:
            self.failed.append((None, CANNOT_UNDERSTAND))
            return
        if study not in (None, instance.study):
            intake.note_refusal(sender, "of another study")
            self.failed.append((instance, WRONG_STUDY))
            return
        try:
            _, fate = intake.take(content, sender, instance)
        except (Postponed, TooLarge) as error:
            self.retry_after = getattr(error, "retry_after", _BUSY_SECONDS)
            self.failed.append((instance, OUT_OF_RESOURCES))
        else:
            if fate in _REASONS:
                self.failed.append((instance, _REASONS[fate]))
            else:
                self.stored.append(instance)

    @property
    def status(self) -> int:
        """The HTTP status: all, some or none stored; 503 where the only reason is want of room."""
        if not self.failed:
            return 200
        if self.stored:
            return 202
        return 503 if all(reason == OUT_OF_RESOURCES for _, reason in self.failed) else 409

    @property
    def headers(self) -> dict[str, str]:
        """The HTTP headers."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}

    def as_json(self) -> dict[str, Any]:
        """Return the answer in DICOM JSON."""
        known = [(instance, reason) for instance, reason in self.failed if instance is not None]
        sequences = {
            "00081198": [_item(instance) | {"00081197": _value("US", reason)} for instance, reason in known],
            "00081199": [_item(instance) for instance in self.stored],
            "0008119A": [{"00081197": _value("US", reason)} for instance, reason in self.failed if instance is None],
        }
        # Objects are not given out again, so there is no URL to retrieve them from.
        return {"00081190": {"vr": "UR"}} | {
            tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items
        }


def _item(instance: Instance) -> dict[str, Any]:
    return {"00081150": _value("UI", instance.sop_class), "00081155": _value("UI", instance.uid)}


def _value(vr: str, value: str | int) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}
