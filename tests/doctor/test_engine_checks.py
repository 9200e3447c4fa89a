"""Rows about the backend, OpenVINO, precision and GPUs, from trials and machines that are made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from featx.doctor import engine_checks
from featx.doctor.check_rows import CheckContext
from featx.doctor.engine_checks import check_backend, check_gpus, check_openvino, check_precision
from featx.doctor.graphics import GraphicsCards


def context(environment: dict[str, str] | None = None, root: Path = Path("/"), **trials: Any) -> CheckContext:
    return CheckContext(environment=environment or {}, root=root, ask=lambda: trials)


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    found = {"keras": "3.13", "tensorflow": "2.20", "torch": "2.10", "openvino": "2025.4"}
    monkeypatch.setattr(
        engine_checks, "versions", lambda names: {name: found[name] for name in names if name in found}
    )
    return found


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Any:
    def give(*given: Any, **more: Any) -> None:
        monkeypatch.setattr(engine_checks, "find_cards", lambda root: GraphicsCards(*given, **more))

    return give


def test_the_backend_that_works_is_named_with_the_others(libraries: dict[str, str]) -> None:
    (row,) = check_backend(context(backend={"name": "tensorflow"}))
    assert row.status == "ok"
    text = "tensorflow 2.20 with Keras 3.13, chosen by the settings of Keras; also installed: torch 2.10"
    assert row.found == text
    (chosen,) = check_backend(context({"KERAS_BACKEND": "torch"}, backend={"name": "torch"}))
    assert chosen.found.startswith("torch 2.10 with Keras 3.13, chosen by KERAS_BACKEND")


@pytest.mark.parametrize(
    ("environment", "found", "remedy"),
    [
        (
            {},
            "Keras cannot be imported: ImportError: libcuda",
            "pip install --force-reinstall keras tensorflow",
        ),
        (
            {"KERAS_BACKEND": "theano"},
            "theano cannot be imported: ImportError: libcuda",
            "Set KERAS_BACKEND to one of tensorflow, jax, torch.",
        ),
        (
            {"KERAS_BACKEND": "jax"},
            "jax cannot be imported: ImportError: libcuda",
            "pip install --force-reinstall keras jax",
        ),
    ],
)
def test_a_backend_that_cannot_be_imported_is_a_problem(
    environment: dict[str, str], found: str, remedy: str
) -> None:
    (row,) = check_backend(context(environment, backend={"error": "ImportError: libcuda"}))
    assert (row.status, row.found) == ("problem", found)
    assert remedy in row.remedy


def test_a_backend_that_featx_does_not_run_on_is_a_problem() -> None:
    (row,) = check_backend(context({"KERAS_BACKEND": "numpy"}, backend={"name": "numpy"}))
    assert (row.status, row.remedy) == ("problem", "Set KERAS_BACKEND to one of tensorflow, jax, torch.")


def test_openvino_is_optional_but_has_to_work_where_it_is(libraries: dict[str, str]) -> None:
    (works,) = check_openvino(context(openvino={"devices": ["CPU"], "capabilities": []}))
    assert (works.status, works.found) == ("ok", "2025.4, on CPU")
    (broken,) = check_openvino(context(openvino={"error": "ImportError: libtbb"}))
    assert broken.status == "problem"
    assert "--engine keras" in broken.remedy
    del libraries["openvino"]
    (missing,) = check_openvino(context(openvino={"error": "No module named 'openvino'"}))
    assert (missing.status, missing.found[:13]) == ("ok", "not installed")


@pytest.mark.parametrize(
    ("trials", "flags", "found"),
    [
        (
            {"openvino": {"devices": ["CPU"], "capabilities": ["FP32", "BF16", "INT8"]}},
            "",
            "float32, bfloat16",
        ),
        ({}, "flags\t\t: fpu avx512_fp16 amx_bf16", "float32, bfloat16, float16"),
        ({}, "Features\t: fp asimd", "float32"),
        ({}, None, "float32"),
    ],
)
def test_precision_is_what_openvino_or_the_processor_says(
    tmp_path: Path, trials: dict[str, Any], flags: str | None, found: str
) -> None:
    if flags is not None:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/cpuinfo").write_text(f"processor\t: 0\n{flags}\n")
    (row,) = check_precision(context(root=tmp_path, **trials))
    assert (row.status, row.found) == ("ok", found)


def test_no_gpu_is_no_fault(cards: Any) -> None:
    cards()
    (row,) = check_gpus(context(gpus={"seen": 0}))
    assert (row.status, row.found) == ("ok", "none; networks run on the CPU")


def test_a_gpu_that_the_backend_sees_is_right(cards: Any) -> None:
    cards(("NVIDIA A100",), "550.54")
    (row,) = check_gpus(context(backend={"name": "jax"}, gpus={"seen": 1}))
    assert (row.status, row.found) == ("ok", "NVIDIA A100; driver 550.54; jax sees 1")


@pytest.mark.parametrize(
    ("given", "backend", "remedy"),
    [
        ((("A100",), "550.54"), "tensorflow", "pip install 'featx[gpu]'"),
        ((("A100",), "550.54"), "jax", "pip install 'jax[cuda12]'"),
        ((("A100",), "470.1"), "tensorflow", "Install an NVIDIA driver of version 525 or newer"),
        ((("A100",), ""), "tensorflow", "Install the NVIDIA driver"),
        ((("A100",), "550.54", False, "Driver/library version mismatch"), "torch", "Restart the machine"),
    ],
)
def test_a_gpu_that_the_backend_does_not_see_is_a_problem(
    cards: Any, given: tuple[Any, ...], backend: str, remedy: str
) -> None:
    cards(*given)
    (row,) = check_gpus(context(backend={"name": backend}, gpus={"seen": 0}))
    assert row.status == "problem"
    assert f"{backend} sees none" in row.found
    assert remedy in row.remedy


def test_a_gpu_that_is_hidden_or_not_given_is_a_note(cards: Any) -> None:
    cards(("A100",), "550.54")
    (hidden,) = check_gpus(context({"CUDA_VISIBLE_DEVICES": "-1"}, gpus={"seen": 0}))
    assert (hidden.status, hidden.found) == ("note", "A100; driver 550.54; hidden by CUDA_VISIBLE_DEVICES=-1")
    cards(("A100",), "550.54", closed=True)
    (closed,) = check_gpus(context(gpus={"seen": 0}))
    assert closed.status == "note"
    assert closed.found.endswith("this process was given none of them")
