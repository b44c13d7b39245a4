import dataclasses

import numpy as np

from recipes.demo.batches import stages, windows
from recipes.demo.settings import Settings


def test_every_id_but_the_first_is_predicted_once():
    ids = np.arange(101, dtype=np.uint16)
    cut = windows(ids, 10)
    assert cut.shape == (10, 11)
    assert cut[:, 1:].ravel().tolist() == list(range(1, 101))
    assert (cut[:, 1:] == cut[:, :-1] + 1).all()


def test_an_incomplete_window_is_dropped():
    assert windows(np.arange(20, dtype=np.uint16), 10).shape == (1, 11)


def test_stages_split_the_ids_in_order():
    settings = dataclasses.replace(Settings(), stages=((4, 0.5), (8, 0.5)), batch_tokens=16)
    (short, many), (long, few) = stages(np.arange(200, dtype=np.uint16), settings)
    assert (many, few) == (4, 2)
    assert short.shape == (24, 5)
    assert long.shape == (12, 9)
    assert short.max() < 100 <= long.min()
