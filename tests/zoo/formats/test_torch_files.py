"""Single tensors of PyTorch files; state dicts are tested with the networks that they fill."""

from __future__ import annotations

import numpy as np
import pytest

from featx.errors import WeightsError
from featx.zoo import read_tensor

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("wrap", [lambda tensor: tensor, lambda tensor: [tensor]])
def test_a_tensor_alone_or_in_a_list(tmp_path, wrap):
    torch.save(wrap(torch.tensor([0.5, 2.0], dtype=torch.bfloat16)), tmp_path / "x.pt")
    read = read_tensor(tmp_path / "x.pt")
    assert read.dtype == np.float32
    assert read.tolist() == [0.5, 2.0]


def test_other_content_is_refused(tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "dict.pt")
    torch.save(torch.nn.Linear(1, 1), tmp_path / "module.pt")
    (tmp_path / "text.pt").write_text("nothing")
    for name in ("dict.pt", "module.pt", "text.pt", "missing.pt"):
        with pytest.raises(WeightsError, match=name) as caught:
            read_tensor(tmp_path / name)
        assert "\n" not in str(caught.value)
