"""C-STORE and C-ECHO: modalities and archives send images by DIMSE."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from msde.errors import ImageError, MSDEError
from msde.serve.audit import Refusals
from msde.serve.errors import Postponed, TooLarge
from msde.serve.intake.image_rows import Sender
from msde.serve.logs import log, log_failure
from msde.serve.pacs.instance import picture_classes
from msde.serve.pacs.intake import Fate, Intake
from msde.serve.pacs.settings import ListenSettings

# DIMSE states of part 4, annex B.2.3, and of part 7, annex C.
SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC000
DUPLICATE = 0x0111
NO_SUCH_CLASS = 0x0122
_STATES = {
    Fate.TAKEN: SUCCESS,
    Fate.KNOWN: SUCCESS,
    Fate.OWN: SUCCESS,
    Fate.NO_PICTURE: NO_SUCH_CLASS,
    Fate.REFUSED: CANNOT_UNDERSTAND,
    Fate.OTHER_PIXELS: DUPLICATE,
}
_LONGEST_PDU = 131_072


@contextmanager
def receiving(settings: ListenSettings, intake: Intake) -> Iterator[int]:
    """Listen for associations.

    Only the storage classes of images are negotiated, in any transfer syntax, so whoever sends something else is told.
    An object is acknowledged when it is on disk.

    Parameters
    ----------
    settings : ListenSettings
    intake : Intake

    Yields
    ------
    int
        The port.

    Raises
    ------
    MSDEError
        If the port is taken, or the library is missing.
    """
    try:
        from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, _config, evt
    except ImportError:
        raise MSDEError("receiving by DIMSE needs pynetdicom; run `pip install 'msde[pacs]'`") from None

    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # it quotes UIDs
    _config.LOG_HANDLER_LEVEL = "none"
    ae = AE(settings.ae_title)
    ae.require_called_aet = True
    ae.require_calling_aet = list(settings.callers)
    ae.maximum_associations = settings.associations
    ae.maximum_pdu_size = _LONGEST_PDU
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = settings.timeout
    ae.add_supported_context("1.2.840.10008.1.1")
    for sop_class in sorted(picture_classes()):
        ae.add_supported_context(sop_class, ALL_TRANSFER_SYNTAXES)
    handlers: list[Any] = [
        (evt.EVT_CONN_OPEN, _bound, [settings.instance_bytes, settings.timeout]),
        (evt.EVT_DIMSE_RECV, _start_anew),
        (evt.EVT_CONN_CLOSE, _close),
        (evt.EVT_C_STORE, _store, [intake]),
        (evt.EVT_REJECTED, _note_rejection, [intake.refusals]),
    ]
    try:
        server = ae.start_server((settings.host, settings.port), block=False, evt_handlers=handlers)
    except OSError as error:
        raise MSDEError(
            f"{settings.host}:{settings.port}: cannot listen for DICOM ({error.strerror}); give another host or port"
        ) from None
    if server is None:
        raise MSDEError("the DICOM listener did not start")
    try:
        yield server.server_address[1]
    finally:
        ae.shutdown()


def _sender(event: Any) -> Sender:
    peer = event.assoc.requestor
    caller = "".join(c for c in str(peer.ae_title) if c.isprintable())
    return Sender(f"dimse:{caller}", address=str(peer.address))


def _note_rejection(event: Any, refusals: Refusals) -> None:
    """Put on record who was turned away: by an unknown title, or because too many are connected."""
    sender = _sender(event)
    refusals.note("", "denied", tried=sender.origin, address=sender.address)


def _store(event: Any, intake: Intake) -> int:
    """Answer a C-STORE; no error leaves this function, because the library would log it with its values."""
    try:
        instance, fate = intake.take(event.encoded_dataset(), _sender(event))
        if instance.uid != event.request.AffectedSOPInstanceUID:
            log("warning", "an object came by DIMSE under another UID than its own")
        return _STATES[fate]
    except (Postponed, TooLarge):
        return OUT_OF_RESOURCES
    except ImageError:
        return CANNOT_UNDERSTAND
    except Exception as error:
        log_failure("an object that came by DIMSE could not be kept", error)
        return OUT_OF_RESOURCES


class _Bounded:
    """Reads from an association's socket until one message is longer than allowed.

    The library itself would make room for any length that a peer states.
    """

    def __init__(self, connection: Any, limit: int) -> None:
        self.socket, self._recv, self._limit = connection.socket, connection.recv, limit
        self.size = 0

    def __call__(self, nr_bytes: int) -> bytearray:
        self.size += nr_bytes
        if self.size > self._limit:
            log("warning", "an object that came by DIMSE is too large", limit_bytes=self._limit)
            self.socket.close()  # before an association stands the library would leave it open
            raise ConnectionAbortedError("too large")
        received: bytearray = self._recv(nr_bytes)
        return received


def _bound(event: Any, limit: int, timeout: float) -> None:
    connection = event.assoc.dul.socket
    connection.recv = _Bounded(connection, limit)
    if isinstance(connection.socket, socket.socket):
        connection.socket.settimeout(timeout)  # a peer that falls silent within a message


def _close(event: Any) -> None:
    """Close the socket for good: the library leaves it open where the peer went first."""
    recv = getattr(event.assoc.dul.socket, "recv", None)
    if isinstance(recv, _Bounded):
        recv.socket.close()


def _start_anew(event: Any) -> None:
    recv = getattr(event.assoc.dul.socket, "recv", None)
    if isinstance(recv, _Bounded):
        recv.size = 0
