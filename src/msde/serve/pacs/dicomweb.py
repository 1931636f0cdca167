"""A PACS by DICOMweb: search, fetch, and store with reading back.

Its library writes URLs, which hold UIDs, into its log, and quotes them in its errors; neither gets out of here.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from msde.errors import MSDEError
from msde.images.decoder_warnings import decoders_silenced
from msde.serve.logs import log
from msde.serve.pacs.instance import is_uid

if TYPE_CHECKING:
    from pydicom import Dataset

    from msde.serve.pacs.settings import PacsSettings

_BLOCK = 65_536
_PAGE = 200  # matches asked for at a time
_MAX_MATCHES = 100_000
_WHOLE_ANSWER = 10  # times what is waited for its next bytes
_LATER = (408, 429, 502, 503, 504)
_CONFLICT = 409
_THERE_ALREADY = {0x0111, 45070}  # of part 4, and of Azure's archive
_LOST = "does not give a result back after storing it"
_LOGGERS = ("dicomweb_client", "retrying", "urllib3")


class PacsError(MSDEError):
    """The PACS did not do what it was asked to; another request may still succeed."""


class PacsDownError(PacsError):
    """The PACS does not answer, or lets nobody in; every other request would fail now."""


@dataclass(frozen=True)
class Series:
    """A series that a PACS has.

    Parameters
    ----------
    study, uid : str
        UIDs.
    n_instances : int or None
        None where the PACS does not say.
    """

    study: str
    uid: str
    n_instances: int | None


@dataclass(frozen=True)
class Listed:
    """An instance that a PACS has.

    Parameters
    ----------
    study, series, uid, sop_class : str
        UIDs.
    """

    study: str
    series: str
    uid: str
    sop_class: str


class Pacs:
    """A PACS; its methods may be called from any one thread at a time.

    Parameters
    ----------
    settings : PacsSettings
    page : int, default=200
        Matches that are asked for at a time.

    Raises
    ------
    PacsError
        From every method, as one line without identifiers; PacsDownError where it concerns every request.
    """

    def __init__(self, settings: PacsSettings, page: int = _PAGE) -> None:
        import requests
        from dicomweb_client.web import DICOMwebClient

        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.settings = settings
        self._told_of_offset = False
        session = requests.Session()
        session.trust_env = False  # a password from .netrc or a proxy of the environment is nobody's intention
        session.max_redirects = 0  # a redirected POST would become a GET, which stores nothing and succeeds
        session.auth = settings.basic
        session.verify = True if settings.ca is None else str(settings.ca)
        session.cert = settings.client_certificate
        for scheme in ("http://", "https://"):
            session.mount(scheme, _adapter(settings.instance_bytes, _WHOLE_ANSWER * settings.timeout))
        self._client: Any = DICOMwebClient(
            settings.url,
            session,
            headers=settings.bearer,
            chunk_size=2**31,  # never in chunks: a chunked upload has been answered with success and not been stored
            timeout=settings.timeout,
        )
        self._client.set_http_retry_params(retry=False)
        self._page = page

    def check(self) -> None:
        """Check that the URL is the root of a DICOMweb service: a wrong one looks like wrong UIDs later."""
        with self._said_plainly(
            f"{self.settings.url} is no root of a DICOMweb service; that of Orthanc ends in /dicom-web"
        ):
            answer = self._client.search_for_studies(limit=1)
            if not isinstance(answer, list) or not all("0020000D" in study for study in answer):
                raise ValueError("no list of studies")

    def series(self, since: date, match: Mapping[str, str]) -> Iterator[Series]:
        """Search for the series of recent studies.

        Parameters
        ----------
        since : date
            Of the study.
        match : mapping of str to str
            Further attributes by keyword, such as Modality.

        Yields
        ------
        Series
            Once each.
        """
        filters = {**match, "StudyDate": f"{since:%Y%m%d}-"}
        fields = ["NumberOfSeriesRelatedInstances"]
        for found in self._pages(
            "0020000E",
            lambda **page: self._client.search_for_series(search_filters=filters, fields=fields, **page),
        ):
            study, uid = _first(found, "0020000D"), _first(found, "0020000E")
            n = _first(found, "00201209")
            if is_uid(study) and is_uid(uid):
                yield Series(study, uid, int(n) if n.isdecimal() else None)

    def instances(self, series: Series) -> Iterator[Listed]:
        """Search for the instances of a series."""
        for found in self._pages(
            "00080018",
            lambda **page: self._client.search_for_instances(series.study, series.uid, **page),
        ):
            uid, sop_class = _first(found, "00080018"), _first(found, "00080016")
            if is_uid(uid):
                yield Listed(series.study, series.uid, uid, sop_class)

    def fetch(self, one: Listed) -> bytes:
        """Fetch an instance as a file."""
        with self._said_plainly("does not give an instance out"):
            return as_file(self._client.retrieve_instance(one.study, one.series, one.uid))

    def store(self, datasets: Sequence[Dataset]) -> None:
        """Store instances of one study and read them back, for an answer of success proves nothing.

        Nor does one that the archive has them already, which a retry after a lost answer gets: what comes back is what
        counts. Storing again is no error where it is the same.
        """
        sent = [_decoded(as_file(dataset)) for dataset in datasets]
        reasons, conflict = self._store(sent)
        with self._said_plainly(f"refuses a result (status {_CONFLICT})" if conflict else _LOST):
            for one in sent:
                found = self._client.retrieve_instance(one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID)
                altered = [part for part in _CONTENT if _content(one, part) != _content(found, part)]
                if altered and one.file_meta.TransferSyntaxUID == found.file_meta.TransferSyntaxUID:
                    raise PacsError(f"{self.settings.name}: keeps another {altered[0]} than was sent; check the PACS")
        if refused := reasons - _THERE_ALREADY:
            said = ", ".join(f"{reason:04X}" for reason in sorted(refused))
            raise PacsError(f"{self.settings.name}: refuses a result with failure reason {said}; check the PACS")

    def _store(self, sent: Sequence[Dataset]) -> tuple[set[int], bool]:
        """Send instances; give the reasons why some were refused, and whether all were, by a conflict."""
        import requests

        with self._said_plainly("refuses a result"):
            try:
                answer = self._client.store_instances(sent)
            except requests.HTTPError as error:
                if error.response is None or error.response.status_code != _CONFLICT:
                    raise
                return set(), True
            return {int(item.get("FailureReason") or 0) for item in answer.get("FailedSOPSequence") or []}, False

    def _pages(self, tag: str, search: Callable[..., list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
        """Page through matches until a page brings nothing new, for an archive may give fewer a page than asked for."""
        seen: set[str] = set()
        while True:
            with self._said_plainly("does not answer a search as DICOMweb asks for"):
                page = [dict(found) for found in search(limit=self._page, offset=len(seen))]
                news = [found for found in page if _first(found, tag) not in seen]
            if not news:
                self._check_end(page, len(seen))
                return
            if len(seen) > _MAX_MATCHES:
                raise PacsError(
                    f"{self.settings.name}: has over {_MAX_MATCHES:,} matches; ask for fewer days or one modality"
                )
            seen.update(_first(found, tag) for found in news)
            yield from news

    def _check_end(self, page: Sequence[object], n_seen: int) -> None:
        """Tell an end from a page that comes again because the archive ignores the offset."""
        if not page:
            return
        name = self.settings.name
        if n_seen == _PAGE:
            raise PacsError(
                f"{name}: ignores the offset of a search, so only the first {_PAGE} matches are seen; ask for fewer"
                " days or one modality"
            )
        if not self._told_of_offset:
            self._told_of_offset = True
            log("warning", "an archive ignores the offset of searches; only its first page is seen", pacs=name)

    @contextmanager
    def _said_plainly(self, what: str) -> Iterator[None]:
        """Turn whatever the libraries raise into one line that quotes nothing."""
        import requests

        name = self.settings.name
        try:
            with decoders_silenced():
                yield
        except (PacsError, MemoryError):
            raise
        except requests.HTTPError as error:
            status = 0 if error.response is None else error.response.status_code
            if status in (401, 403):
                raise PacsDownError(f"{name}: refuses the credentials ({status}); mend them in the PACS file") from None
            if status in _LATER:
                raise PacsDownError(f"{name}: cannot serve now ({status}); it is asked again later") from None
            raise PacsError(f"{name}: {what} (status {status})") from None
        except requests.exceptions.SSLError:
            raise PacsDownError(f"{name}: its certificate is not trusted; give its authority as ca") from None
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            kind = type(error).__name__
            raise PacsDownError(f"{name}: does not answer ({kind}); check that it runs and its URL") from None
        except Exception as error:
            raise PacsError(f"{name}: {what} ({type(error).__name__})") from None


# What has to come back as it was sent; a PACS may well correct names and dates.
_CONTENT = ("SOPClassUID", "SOPInstanceUID", "PixelData", "FloatPixelData", "ContentSequence")


def _content(dataset: Dataset, keyword: str) -> Any:
    return dataset.get(keyword)


def as_file(dataset: Dataset) -> bytes:
    """Write a dataset into a file in memory."""
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _decoded(content: bytes) -> Dataset:
    from pydicom import dcmread

    return dcmread(io.BytesIO(content))


def _first(found: Mapping[str, Any], tag: str) -> str:
    """Return the first value of an attribute in DICOM JSON as text, empty where there is none."""
    values = found.get(tag, {}).get("Value") or [""]
    return str(values[0])


def _adapter(max_bytes: int, max_seconds: float) -> Any:
    """Make requests' transport refuse an answer that is too long, or drips in slower than a timeout would notice."""
    from requests.adapters import HTTPAdapter

    class Bounded(HTTPAdapter):
        def add_headers(self, request: Any, **_: Any) -> None:
            request.headers.pop("Host", None)  # the client states it without its port

        def build_response(self, req: Any, resp: Any) -> Any:
            end = time.monotonic() + max_seconds

            def bounded(*_: Any, **__: Any) -> Iterator[bytes]:
                size = 0
                try:
                    while block := resp.read1(_BLOCK, decode_content=True):  # what is there, without waiting for more
                        size += len(block)
                        if size > max_bytes:
                            raise PacsError(f"an answer is longer than {max_bytes:,} bytes; raise instance_megabytes")
                        if time.monotonic() > end:
                            raise PacsDownError(f"an answer takes longer than {max_seconds:.0f} s; check the network")
                        yield block
                except PacsError:
                    resp.close()
                    raise

            resp.stream = bounded
            return super().build_response(req, resp)

    return Bounded()
