"""What can go wrong between a ledger and its export.

ExportError
├── NotClosed       the day is not over
├── Gap             days would be missing between those exported
├── UnknownRequest  the ledger has a charge, but not its request
├── Differs         an object is there with other content
├── Damaged         an object is missing, or not what its manifest says
└── TargetFailed    the folder or bucket does not work
"""


class ExportError(Exception):
    """The message names the object and says what to do."""


class NotClosed(ExportError):
    """More lines may still be booked on this day."""


class Gap(ExportError):
    """The days exported would not follow one another."""


class UnknownRequest(ExportError):
    """A charge without its request: the ledger was imported."""


class Differs(ExportError):
    """Nothing that was exported is ever written over."""


class Damaged(ExportError):
    """Nothing is imported from a damaged export."""


class TargetFailed(ExportError):
    """The target's own failure, translated."""
