"""What can be served: model cards and the vision tokens of an image. Pure: no Ray, no HTTP, no clock."""

from catalog.card import ModelCard
from catalog.catalog import CardError, Catalog, load_catalog

__all__ = ["CardError", "Catalog", "ModelCard", "load_catalog"]
