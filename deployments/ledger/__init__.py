"""The one writer of the embedded ledger, and the gateways' connection to it."""
