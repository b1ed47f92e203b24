import pytest

from calibration.device import cpu_name, is_rented
from catalog.card import Accelerators


@pytest.mark.parametrize(
    ("kind", "name", "rented"),
    [
        ("A100-80", "NVIDIA A100-SXM4-80GB", True),
        ("L4", "NVIDIA L4", True),
        ("L4", "NVIDIA L40S", False),  # another one, and another rent
        ("L4", "NVIDIA H200", False),
        ("L4", "CPU, 2 cores of AMD EPYC", False),
    ],
)
def test_a_rent_is_that_of_the_hardware_of_its_name(kind: str, name: str, rented: bool):
    assert is_rented(Accelerators(kind=kind, count=1, usd_per_hour="0.8"), name) is rented


def test_a_card_for_the_cpu_has_the_rent_of_one():
    assert is_rented(Accelerators(kind="cpu", count=0, usd_per_hour="0.05"), cpu_name(2))
