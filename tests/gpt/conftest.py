"""Exported models need TensorFlow; with another backend these tests cannot be imported."""

from __future__ import annotations

import os

if os.environ.get("CPM_TEST_ENGINE", "tensorflow") != "tensorflow":
    collect_ignore_glob = ["test_*.py"]
