"""A Ray on loopback alone: nothing of it can be reached from another machine."""

from ray._private import services

# Ray and its exporters listen on loopback for this very address, and on all addresses of the machine for any other.
LOOPBACK = "127.0.0.1"


def keep_to_loopback() -> None:
    """Call it before `ray.init`, in whatever starts a Ray at `LOOPBACK` or connects to it.

    Ray replaces this address by the machine's own, so that others can join; there is no setting against it.
    """
    services.resolve_ip_for_localhost = lambda host: host
