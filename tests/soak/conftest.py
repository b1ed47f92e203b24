from tests.gateway.conftest import house

__all__ = ["house"]
