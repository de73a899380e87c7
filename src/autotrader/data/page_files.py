"""A raw page as one gzip file that holds its request and arrival too.

`zcat` gives the payload byte for byte as the venue sent it; everything else of the page is JSON
in the gzip header's extra field (RFC 1952, subfield `AT`), so that payload and provenance are one
file, written at once. No modification time is kept: equal pages make equal files.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
import zlib
from datetime import datetime

from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData
from autotrader.domain.instruments import Venue
from autotrader.ports.market_data import RawPage

_FIXED = [b"\x1f\x8b\x08", 4, 0, 0, 255]  # magic, has an extra field, no time, no hint, any system
_SUBFIELD = b"AT"
_HEADER = struct.Struct("<3sBIBBH")  # the fixed part, and the length of the extra field
_SUBHEADER = struct.Struct("<2sH")
_TRAILER = struct.Struct("<II")  # CRC-32 and length of the payload
_LEVEL = 6


def payload_digest(page: RawPage) -> str:
    """SHA-256 of the payload, in hex."""
    return hashlib.sha256(page.payload).hexdigest()


def page_name(page: RawPage) -> str:
    """A name that sorts by arrival and is equal for equal pages only.

    `<fetched_at>_<interval>_<SHA-256 of the payload>_<8 hex digits of the rest>.gz`
    """
    arrival = page.fetched_at.strftime("%Y%m%dT%H%M%S.%fZ")
    provenance = hashlib.sha256(_provenance(page)).hexdigest()[:8]
    return f"{arrival}_{page.interval.value}_{payload_digest(page)}_{provenance}.gz"


def digest_in_name(name: str) -> str:
    """The payload's SHA-256 that a file name of `page_name` carries.

    Raises
    ------
    BadData
        If the name is of another form.
    """
    parts = name.removesuffix(".gz").split("_")
    if not name.endswith(".gz") or len(parts) != 4 or len(parts[2]) != 64:
        raise BadData(f"expected a raw page's file name, was {name}: move it out of the archive")
    return parts[2]


def encode_page(page: RawPage) -> bytes:
    """The page as the content of a gzip file; equal pages give equal bytes."""
    provenance = _provenance(page)
    extra = _SUBHEADER.pack(_SUBFIELD, len(provenance)) + provenance
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return b"".join(
        (
            _HEADER.pack(*_FIXED, len(extra)),
            extra,
            deflate.compress(page.payload),
            deflate.flush(),
            _TRAILER.pack(zlib.crc32(page.payload), len(page.payload) & 0xFFFFFFFF),
        )
    )


def decode_page_file(content: bytes, *, name: str) -> RawPage:
    """The page that a file holds.

    Parameters
    ----------
    content : bytes
        Of the whole file.
    name : str
        For messages.

    Raises
    ------
    BadData
        If the file is cut or damaged; the message names it.
    """
    try:
        *header, extra_length = _HEADER.unpack_from(content)
        field, length = _SUBHEADER.unpack_from(content, _HEADER.size)
        if header != _FIXED or field != _SUBFIELD or length + _SUBHEADER.size != extra_length:
            raise BadData(f"expected a raw page in {name}, was another kind of file")
        begin = _HEADER.size + _SUBHEADER.size
        provenance = json.loads(content[begin : begin + length])
        payload = gzip.decompress(content)
        return RawPage(
            venue=Venue(provenance["venue"]),
            instrument=provenance["instrument"],
            interval=Interval(provenance["interval"]),
            start=datetime.fromisoformat(provenance["start"]),
            end=datetime.fromisoformat(provenance["end"]),
            payload=payload,
            media=provenance["media"],
            fetched_at=datetime.fromisoformat(provenance["fetched_at"]),
            market_time=datetime.fromisoformat(provenance["market_time"]),
            source=provenance["source"],
        )
    except (struct.error, zlib.error, gzip.BadGzipFile, EOFError, KeyError, TypeError, ValueError) as error:
        raise BadData(f"expected a whole raw page in {name}, was damaged: {error}") from error


def _provenance(page: RawPage) -> bytes:
    fields = {
        "venue": page.venue.value,
        "instrument": page.instrument,
        "interval": page.interval.value,
        "start": page.start.isoformat(),
        "end": page.end.isoformat(),
        "media": page.media,
        "fetched_at": page.fetched_at.isoformat(),
        "market_time": page.market_time.isoformat(),
        "source": page.source,
    }
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
