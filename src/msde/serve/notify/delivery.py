"""Messages out: by HTTP to a webhook or a FHIR server, by MLLP to a receiver of HL7 version 2."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import ssl
import time
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from msde.errors import MSDEError
from msde.serve.notify.settings import Hl7Receiver, HttpReceiver, Receiver

_LONGEST = 65_536  # bytes of an answer
_BEGIN, _END = b"\x0b", b"\x1c\r"
_MISSED = (408, 425, 429, 500, 502, 503, 504)  # what says nothing of the message


class ReceiverDownError(MSDEError):
    """It does not answer; every message waits."""


class RefusedError(MSDEError):
    """It answers, and does not take this message; the words are ours, because its own may name a patient."""


def deliver(receiver: HttpReceiver | Hl7Receiver, text: str, event: str) -> None:
    """Send a message.

    Parameters
    ----------
    receiver : Receiver
    text : str
    event : str
        The same at each attempt, by which a receiver knows what it has already.

    Raises
    ------
    ReceiverDownError
    RefusedError
    """
    try:
        if isinstance(receiver, Hl7Receiver):
            return _by_mllp(receiver, text)
        return _by_http(receiver, text, event)
    except (OSError, HTTPException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise ReceiverDownError(f"{receiver.name} does not answer ({reason})") from None


def reach(receiver: HttpReceiver | Hl7Receiver) -> None:
    """Connect, and send nothing.

    Raises
    ------
    ReceiverDownError
    """
    if isinstance(receiver, Hl7Receiver):
        address = receiver.host, receiver.port
    else:
        parts = urlsplit(receiver.url)
        address = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection(address, receiver.timeout).close()
    except OSError as error:
        raise ReceiverDownError(f"{receiver.name} does not answer ({error.strerror or error})") from None


def signature(secret: bytes, event: str, moment: int, body: bytes) -> str:
    """Sign a body as https://www.standardwebhooks.com has it.

    Examples
    --------
    >>> signature(b"secret", "msde-1", 1_700_000_000, b"{}")
    'v1,PFz5B8s5a4WopW6tf3LC+Vkd8iE1O9wJGoCoclZracM='
    """
    signed = b".".join((event.encode(), str(moment).encode(), body))
    return f"v1,{base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()}"


def _by_http(receiver: HttpReceiver, text: str, event: str) -> None:
    parts, body = urlsplit(receiver.url), text.encode()
    path = parts.path or "/"
    if receiver.kind == "webhook":
        moment = int(time.time())
        headers = {
            "content-type": "application/json",
            "webhook-id": event,
            "webhook-timestamp": str(moment),
            "webhook-signature": signature(receiver.secret, event, moment, body),
        }
    else:
        resource = json.loads(text)["resourceType"]
        path = parts.path if resource == "Bundle" else f"{parts.path}/{resource}"
        headers = {"content-type": "application/fhir+json", "if-none-exist": f"identifier=urn:msde:event|{event}"}
        if receiver.token:
            headers["authorization"] = f"Bearer {receiver.token}"
    connection: HTTPConnection
    port = parts.port
    if parts.scheme == "https":
        connection = HTTPSConnection(parts.hostname or "", port, timeout=receiver.timeout, context=_trust(receiver))
    else:
        connection = HTTPConnection(parts.hostname or "", port, timeout=receiver.timeout)
    with closing(connection):
        connection.request("POST", path + (f"?{parts.query}" if parts.query else ""), body, headers)
        answer = connection.getresponse()
        answer.read(_LONGEST)
    if answer.status in _MISSED:
        raise ReceiverDownError(f"{receiver.name} answers {answer.status}")
    if not 200 <= answer.status < 300:
        raise RefusedError(f"{receiver.name} refuses it with {answer.status}")


def _by_mllp(receiver: Hl7Receiver, text: str) -> None:
    message = "\r".join(line for line in text.splitlines() if line).encode()
    with socket.create_connection((receiver.host, receiver.port), receiver.timeout) as plain:
        connection: Any = plain
        if receiver.tls:
            connection = _trust(receiver).wrap_socket(plain, server_hostname=receiver.host)
        with connection:
            connection.sendall(_BEGIN + message + b"\r" + _END)
            answer = b""
            while not answer.endswith(_END) and len(answer) < _LONGEST:
                block = connection.recv(_LONGEST)
                if not block:
                    break
                answer += block
    code = _acknowledged(answer)
    if not code:
        raise ReceiverDownError(f"{receiver.name} ends the connection without an acknowledgement")
    if code not in ("AA", "CA"):
        raise RefusedError(f"{receiver.name} refuses it with {code}")


def _acknowledged(answer: bytes) -> str:
    """Return the code of an acknowledgement; empty where there is none."""
    for segment in answer.strip(_BEGIN + _END).decode("utf-8", "replace").split("\r"):
        if segment.startswith("MSA") and len(segment) > 4:
            code = segment.split(segment[3])[1]
            return code if code in ("AA", "CA", "AE", "AR", "CE", "CR") else "an unknown code"
    return ""


def _trust(receiver: Receiver) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=receiver.ca)
    if receiver.certificate is not None:
        context.load_cert_chain(receiver.certificate, receiver.key)
    return context
