"""An exported model is TensorFlow's: the suite of another backend cannot even import these tests."""

from __future__ import annotations

import os

if os.environ.get("CPM_TEST_ENGINE", "tensorflow") != "tensorflow":
    collect_ignore_glob = ["test_*.py"]
