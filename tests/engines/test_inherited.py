"""What an engine inherits of our environment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.engines.inherited import inherited


@pytest.mark.parametrize(
    ("name", "always", "of_a_hub"),
    [
        ("PATH", True, True),
        ("HOME", True, True),
        ("LC_ALL", True, True),
        ("TMPDIR", True, True),
        ("HF_HOME", True, True),
        ("CUDA_VISIBLE_DEVICES", True, True),
        ("NVIDIA_VISIBLE_DEVICES", True, True),
        ("LD_LIBRARY_PATH", True, True),
        ("NCCL_SOCKET_IFNAME", True, True),
        ("OMP_PROC_BIND", True, True),
        # Only for weights from a hub.
        ("HF_TOKEN", False, True),
        ("HUGGING_FACE_HUB_TOKEN", False, True),
        ("https_proxy", False, True),
        ("HTTPS_PROXY", False, True),
        # Ours.
        ("VLMFLEET_STORE", False, False),
        ("VLMFLEET_ADMIN_KEY", False, False),
        ("AWS_SECRET_ACCESS_KEY", False, False),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", False, False),
        ("GOOGLE_APPLICATION_CREDENTIALS", False, False),
        ("NVIDIA_API_KEY", False, False),
        ("PGPASSWORD", False, False),
        ("RAY_ADDRESS", False, False),
        ("RAY_AUTH_TOKEN", False, False),
        # Of another Python, or another engine.
        ("PYTHONPATH", False, False),
        ("VIRTUAL_ENV", False, False),
        ("VLLM_API_KEY", False, False),
        # Ray sets it in its actors.
        ("OMP_NUM_THREADS", False, False),
    ],
)
def test_an_engine_inherits_what_it_needs(name: str, always: bool, of_a_hub: bool):
    found = [name in inherited({name: "value"}, hub=hub) for hub in (False, True)]
    assert found == [always, of_a_hub]


@given(
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ_", min_size=1, max_size=12),
    st.sampled_from(["KEY", "PASSWORD", "STORE", "URL"]),
)
def test_a_name_that_nobody_thought_of_stays_here(name: str, kind: str):
    """It is a list of what is let through, not of what is held back."""
    assert inherited({f"MY_{name}_{kind}": "value"}, hub=True) == {}
