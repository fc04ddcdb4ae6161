"""What the engine's tests share."""

from __future__ import annotations

import pytest

from lit_plugins.attribution.cost import Calibration


@pytest.fixture(autouse=True)
def _calibrated(request, monkeypatch):
    """Costs as of a fast machine, without measuring them; `measured` tests do measure."""
    if request.node.get_closest_marker("measured") is None:

        def measure(calibration):
            calibration._lines = {False: (1e-4, 1e-6), True: (3e-4, 3e-6)}
            calibration._bytes_per_token = 1000.0

        monkeypatch.setattr(Calibration, "_measure", measure)


def pytest_configure(config):
    config.addinivalue_line("markers", "measured: calibrates on this machine")
