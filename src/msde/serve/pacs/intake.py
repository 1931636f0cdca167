"""The one way in for DICOM objects, however they come: each image once, and never a result of our own."""

from __future__ import annotations

import hashlib
import threading
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter

from msde.errors import ImageError
from msde.images.formats import DICOM
from msde.images.passing import times_met
from msde.serve.audit import Refusals
from msde.serve.errors import OutOfResources, Postponed, ServiceError, TooLarge
from msde.serve.intake.image_rows import Sender
from msde.serve.intake.reception import Reception
from msde.serve.leadership import locked
from msde.serve.logs import log
from msde.serve.pacs.instance import Instance
from msde.serve.pacs.same_picture import is_readable, same_picture
from msde.serve.storage.dicom_ledger import DicomLedger
from msde.serve.storage.tables import DicomInstance


class Fate(StrEnum):
    """What became of an object."""

    TAKEN = "taken"
    KNOWN = "known"
    OWN = "own"
    NO_PICTURE = "no picture"
    REFUSED = "refused"
    OTHER_PIXELS = "other pixels"


SETTLED = frozenset((Fate.TAKEN, Fate.OWN, Fate.NO_PICTURE))
"""Of an object that need not be fetched again; what was refused may have been damaged on the way."""
_REFUSED = frozenset((Fate.REFUSED, Fate.OTHER_PIXELS, Fate.NO_PICTURE))


class Intake:
    """Hands objects over to the service's reception.

    A UID counts with what came under it: other pixels under the UID of an image that is scored are refused, and where
    that image could not be scored, they replace it.

    Parameters
    ----------
    reception : Reception
    ledger : DicomLedger
    registry : prometheus_client.CollectorRegistry
        Where objects are counted.
    refusals : Refusals
        Where those that are refused are on record.
    """

    def __init__(
        self, reception: Reception, ledger: DicomLedger, registry: CollectorRegistry, refusals: Refusals
    ) -> None:
        self._reception = reception
        self.ledger = ledger
        self.refusals = refusals
        # So that two ways in do not take the same object at once, in one process or in several.
        self._turn, self._lock = threading.Lock(), reception.store.incoming.with_name("intake.lock")
        self._objects = Counter(
            "msde_pacs_objects",
            "DICOM objects that arrived, by way and by what became of them.",
            ["way", "fate"],
            registry=registry,
        )

    def read(self, content: bytes, sender: Sender) -> Instance:
        """Read what decides on an object; that it is damaged is on record.

        Raises
        ------
        ImageError
            If it is no DICOM file or lacks its UIDs.
        """
        try:
            return Instance.of(content)
        except ImageError:
            self.note_refusal(sender, "damaged")
            raise

    def take(self, content: bytes, sender: Sender, instance: Instance | None = None) -> tuple[Instance, Fate]:
        """Take an object in; it is on disk and queued when this returns `Fate.TAKEN`.

        Parameters
        ----------
        content : bytes
            A DICOM file.
        sender : Sender
        instance : Instance, optional
            What `read` has told of it.

        Raises
        ------
        ImageError
            As `read`.
        Postponed, TooLarge
            As the service raises them; the object may be sent again.
        """
        instance = instance or self.read(content, sender)
        with self._turn, locked(self._lock):
            known = self.ledger.find(instance.uid)
            if known is not None and known.fate in (Fate.TAKEN, Fate.OWN):
                fate = self._again(known, instance, content, sender)
            else:
                fate = self._anew(instance, content, sender)
        way = sender.origin.partition(":")[0]
        if fate is Fate.OTHER_PIXELS:
            log("warning", "an object came under the UID of another with other pixels, and was refused", way=way)
        self._objects.labels(way, fate).inc()
        if fate in _REFUSED:
            self.note_refusal(sender, fate)
        return instance, fate

    def note_refusal(self, sender: Sender, reason: str) -> None:
        """Put on record that an object was not taken."""
        self.refusals.note(sender.user, "refused", origin=sender.origin, reason=str(reason), address=sender.address)

    def _anew(self, instance: Instance, content: bytes, sender: Sender) -> Fate:
        """Take in what has not come before, or was refused and may have been mended."""
        fate, digest = self._first_fate(instance), None
        if fate is Fate.TAKEN:
            fate, digest = self._kept(instance, content, sender)
        self.ledger.note(instance.uid, fate, instance.pixels, digest, for_good=fate in SETTLED)
        return fate

    def _first_fate(self, instance: Instance) -> Fate:
        if instance.is_result or (instance.pixels and self.ledger.has(Fate.OWN, instance.pixels)):
            return Fate.OWN
        if not instance.is_picture:
            return Fate.NO_PICTURE
        return Fate.TAKEN if instance.pixels else Fate.REFUSED

    def _kept(self, instance: Instance, content: bytes, sender: Sender) -> tuple[Fate, str | None]:
        try:
            received = self._reception.ingest(content, f"{instance.uid}.dcm", sender)
        except (Postponed, TooLarge):
            raise
        except (ImageError, ServiceError):
            return Fate.REFUSED, None
        return (Fate.REFUSED, None) if received.refused else (Fate.TAKEN, hashlib.sha256(content).hexdigest())

    def _again(self, known: DicomInstance, instance: Instance, content: bytes, sender: Sender) -> Fate:
        """Decide on an object whose UID has come before, or is that of a result which was sent."""
        earlier = Fate.KNOWN if known.fate == Fate.TAKEN else Fate.OWN
        if earlier is Fate.KNOWN and known.digest and self.ledger.could_not_be_scored(known.digest):
            return self._in_place_of(known.digest, instance, content, sender)
        if known.pixels in (None, instance.pixels):  # none: taken by an earlier version
            return earlier
        if not instance.pixels:
            return Fate.REFUSED
        with self._reception.store.arriving() as arrival:
            path = arrival.file.with_suffix(DICOM.suffixes[0])
            path.write_bytes(content)
            met = times_met()
            kept = self._reception.store.path(known.digest or "", DICOM.suffixes[0])
            same, broken = same_picture(path, kept), kept.exists() and not is_readable(kept)
            if times_met() != met:  # one could not be read for want of files, memory or room
                raise OutOfResources
        if broken and known.digest:  # it waits to be scored, and will fail
            return self._in_place_of(known.digest, instance, content, sender)
        return earlier if same else Fate.OTHER_PIXELS

    def _in_place_of(self, digest: str, instance: Instance, content: bytes, sender: Sender) -> Fate:
        """Replace an image that could not be scored, unless the same bytes come again."""
        kept = self._reception.store.path(digest, DICOM.suffixes[0])
        if kept.exists() and hashlib.sha256(content).hexdigest() == digest:  # else it was purged before it was scored
            return Fate.REFUSED
        fate = self._anew(instance, content, sender)
        if fate is Fate.TAKEN:
            self._reception.rows.forget_failed(digest, sender)
        return fate
