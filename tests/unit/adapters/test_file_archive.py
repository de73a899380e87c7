"""The archive in a folder: the files themselves, and trouble with them."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest

from autotrader.adapters.file_archive import FileArchive
from autotrader.domain.errors import BadData, ConfigurationError, Rejected
from autotrader.ports.market_data import RawPage
from tests.unit.data.frames import page, stored_bars
from tests.unit.data.trouble import TROUBLES, in_trouble


@pytest.fixture
def raw() -> RawPage:
    return page(stored_bars(minutes=3))


def only_file(root: Path) -> Path:
    (path,) = (p for p in root.rglob("*") if p.is_file())
    return path


def test_gunzip_gives_the_payload_byte_for_byte(tmp_path: Path, raw: RawPage) -> None:
    FileArchive(str(tmp_path)).store(raw)
    assert gzip.decompress(only_file(tmp_path).read_bytes()) == raw.payload


def test_the_name_carries_the_payloads_hash(tmp_path: Path, raw: RawPage) -> None:
    FileArchive(str(tmp_path)).store(raw)
    assert hashlib.sha256(raw.payload).hexdigest() in only_file(tmp_path).name


def test_equal_pages_make_equal_files(tmp_path: Path, raw: RawPage) -> None:
    for name in ("a", "b"):
        FileArchive(str(tmp_path / name)).store(raw)
    assert only_file(tmp_path / "a").read_bytes() == only_file(tmp_path / "b").read_bytes()


def test_a_file_that_is_there_is_not_written_again(tmp_path: Path, raw: RawPage) -> None:
    archive = FileArchive(str(tmp_path))
    archive.store(raw)
    before = only_file(tmp_path).stat().st_mtime_ns
    archive.store(raw)
    assert only_file(tmp_path).stat().st_mtime_ns == before


@pytest.mark.parametrize("position", [0, 4, 12, 40, -30, -9, -1])
def test_a_flipped_byte_is_found_and_the_file_named(tmp_path: Path, raw: RawPage, position: int) -> None:
    archive = FileArchive(str(tmp_path))
    entry = archive.store(raw)
    path = only_file(tmp_path)
    content = bytearray(path.read_bytes())
    content[position] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(BadData, match=path.name):
        archive.load(entry)


@pytest.mark.parametrize("kept", [0, 5, 30, 400])
def test_a_cut_file_is_found_and_named(tmp_path: Path, raw: RawPage, kept: int) -> None:
    archive = FileArchive(str(tmp_path))
    entry = archive.store(raw)
    path = only_file(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(BadData, match=path.name):
        archive.load(entry)


def test_a_file_of_another_origin_is_named_rather_than_passed_over(tmp_path: Path, raw: RawPage) -> None:
    archive = FileArchive(str(tmp_path))
    archive.store(raw)
    (only_file(tmp_path).parent / "notes.txt").write_text("?")
    with pytest.raises(BadData, match=r"notes\.txt"):
        list(archive.entries())


def test_what_an_interrupted_write_leaves_is_no_entry(tmp_path: Path, raw: RawPage) -> None:
    archive = FileArchive(str(tmp_path))
    archive.store(raw)
    (only_file(tmp_path).parent / ".tmp-0").write_bytes(b"half")
    assert len(list(archive.entries())) == 1


def test_an_object_store_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigurationError, match=r"expected a local folder, was s3://bucket/archive"):
        FileArchive("s3://bucket/archive")


@pytest.mark.parametrize(("trouble", "said"), TROUBLES)
def test_storage_trouble_is_one_line_and_leaves_nothing(
    tmp_path: Path, raw: RawPage, trouble: str, said: str
) -> None:
    archive = FileArchive(str(tmp_path / "archive"))
    (tmp_path / "archive").mkdir()
    with in_trouble(trouble, tmp_path / "archive"), pytest.raises(Rejected, match=said) as caught:
        archive.store(raw)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
