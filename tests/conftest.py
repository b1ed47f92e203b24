"""For every test: no example of a property is judged by the clock."""

from hypothesis import settings

settings.register_profile("calm", deadline=None)
settings.load_profile("calm")
