"""Secrets between processes of ours: of an engine server, of a ledger's writer, of a private Ray."""

import secrets

SECRET_BYTES = 32


def new_secret() -> str:
    """Letters and digits only: it never begins with a dash, so no command line takes it for an option."""
    return secrets.token_hex(SECRET_BYTES)
