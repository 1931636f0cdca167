"""The one way in for DICOM objects, however they come: each image once, and never a result of our own."""

from __future__ import annotations

import threading
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter

from msde.errors import ImageError
from msde.serve.errors import Postponed, ServiceError, TooLarge
from msde.serve.intake.image_rows import Sender
from msde.serve.intake.reception import Reception
from msde.serve.pacs.instance import Instance
from msde.serve.storage.dicom_ledger import DicomLedger


class Fate(StrEnum):
    """What became of an object."""

    TAKEN = "taken"
    KNOWN = "known"
    OWN = "own"
    NO_PICTURE = "no picture"
    REFUSED = "refused"


class Intake:
    """Hands objects over to the service's reception.

    Parameters
    ----------
    reception : Reception
    ledger : DicomLedger
    registry : prometheus_client.CollectorRegistry
        Where objects are counted.
    """

    def __init__(self, reception: Reception, ledger: DicomLedger, registry: CollectorRegistry) -> None:
        self._reception = reception
        self.ledger = ledger
        self._turn = threading.Lock()  # so that two ways in do not take the same object at once
        self._objects = Counter(
            "msde_pacs_objects",
            "DICOM objects that arrived, by way and by what became of them.",
            ["way", "fate"],
            registry=registry,
        )

    def take(self, content: bytes, sender: Sender) -> tuple[Instance, Fate]:
        """Take an object in; it is on disk and queued when this returns `Fate.TAKEN`.

        Parameters
        ----------
        content : bytes
            A DICOM file.
        sender : Sender

        Raises
        ------
        ImageError
            If it is no DICOM file or lacks its UIDs.
        Postponed, TooLarge
            As the service raises them; the object may be sent again.
        """
        instance = Instance.of(content)
        with self._turn:
            known = self.ledger.fate(instance.uid)
            if known in (None, Fate.REFUSED):  # what was refused may have been mended
                fate = self._fate(instance, content, sender)
                self.ledger.note(instance.uid, fate)
            else:
                fate = Fate.KNOWN if known == Fate.TAKEN else Fate(known)
        self._objects.labels(sender.origin.partition(":")[0], fate).inc()
        return instance, fate

    def _fate(self, instance: Instance, content: bytes, sender: Sender) -> Fate:
        if instance.is_own:
            return Fate.OWN
        if not instance.is_picture:
            return Fate.NO_PICTURE
        if not instance.has_pixels:
            return Fate.REFUSED
        try:
            received = self._reception.ingest(content, f"{instance.uid}.dcm", sender)
        except (Postponed, TooLarge):
            raise
        except (ImageError, ServiceError):
            return Fate.REFUSED
        return Fate.REFUSED if received.refused else Fate.TAKEN
