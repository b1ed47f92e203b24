"""The ledger as files: a day at a time, to a folder or to S3, and back.

    entries/day=2026-11-20/000000000001-000000050000.csv          every line of the ledger; what an import reads
    usage/csv/day=2026-11-20/000000000001-000000050000.csv        a row a charge or refund, shaped as FOCUS 1.3
    usage/parquet/day=2026-11-20/000000000001-000000050000.parquet  the same rows
    manifests/2026-11-20.json     written last: rows, sums, checksums, the checksum of the day before's manifest

A day is the lines up to the first one that was booked on a later day, so days have no gaps and do not overlap even if a clock
was set back. Exporting a day again changes nothing.
"""

from exports.chain import verify
from exports.exporter import export
from exports.importer import import_ledger
from exports.manifest import Manifest
from exports.target import open_target

__all__ = ["Manifest", "export", "import_ledger", "open_target", "verify"]
