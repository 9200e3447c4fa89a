from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from featx.clusters import kubernetes_manifest, slurm_script
from featx_cli.main import run


def test_tls_prints_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("cryptography")
    folder = tmp_path / "tls"
    assert run(["cluster", "tls", str(folder), "--days", "3"]) == 0
    assert capsys.readouterr().out == f"{folder}\n"
    assert run(["cluster", "tls", str(folder)]) == 2
    assert "the file exists" in capsys.readouterr().err


def test_scripts_go_to_stdout_and_flags_reach_them(capsys: pytest.CaptureFixture[str]) -> None:
    line = "cluster slurm mine.toml --gpus 2 --nodes 3 --memory 8 --walltime 1:00:00"
    assert run(line.split()) == run([*line.split(), "--print"]) == 0
    wanted = slurm_script("mine.toml", gpus=2, nodes=3, memory_gib=8, walltime="1:00:00")
    assert capsys.readouterr().out == 2 * wanted
    assert run(["cluster", "kubernetes", "mine.toml", "--image", "featx:1", "-j", "4", "--print"]) == 0
    assert capsys.readouterr().out == kubernetes_manifest("mine.toml", image="featx:1", workers=4)


def test_the_options_of_the_commands_in_a_script_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["cluster", "slurm", "m.csv", "--form", "array", "--extract"]
    assert run([*line, "-m tiny --arm x", "--train", "--arm x --task a:b"]) == 0
    assert "EXTRACT=(-m tiny --arm x)\nTRAIN=(--arm x --task a:b)\n" in capsys.readouterr().out
    for words, message in (
        (["--arm x"], "--extract: Missing option '-m' / '--backbone'"),
        (["-m tiny --bad"], "--extract: No such option"),
        (["-m tiny --shard 1/2"], "--extract must not hold --shard"),
        (["-m tiny", "--train", "--protocl 5x2"], "--train: No such option"),
        (["-m 'tiny"], "'extract' parameter must be options as a shell reads them"),
    ):
        assert run([*line, *words]) == 2
        out, err = capsys.readouterr()
        assert message in err
        assert out == ""


def test_bad_values_exit_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cluster", "slurm", "s.toml", "--partition", "a b"]) == 2
    assert "'partition' parameter must be a name" in capsys.readouterr().err
    assert run(["cluster", "kubernetes", "s.toml"]) == 2
    assert "'image' parameter is required" in capsys.readouterr().err


def test_a_configuration_file_gives_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "slurm.toml"
    config.write_text('[slurm]\npartition = "gpu"\nnodes = 2\n')
    assert run(["cluster", "slurm", "s.toml", "--config", str(config), "--nodes", "4"]) == 0
    out = capsys.readouterr().out
    assert "#SBATCH --partition=gpu\n" in out
    assert "#SBATCH --nodes=4\n" in out


def test_submitting_outside_of_a_job_submits_both_jobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a `sbatch` that writes down what it is given."""
    assert run(["cluster", "slurm", "m.csv", "--form", "array", "--extract", "-m tiny", "--gpus", "1"]) == 0
    script = tmp_path / "job.sh"
    script.write_text(capsys.readouterr().out)
    sbatch = tmp_path / "sbatch"
    sbatch.write_text('#!/bin/bash\nprintf "%s\\n" "$*" >> calls\necho "7;cluster"\n')
    sbatch.chmod(0o755)
    given = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(
        ["bash", script], cwd=tmp_path, env=given, capture_output=True, text=True, check=True
    )
    assert done.stdout == "parts: job 7;cluster, last job: 7;cluster\n"
    assert (tmp_path / "calls").read_text().splitlines() == [
        f"--parsable {script}",
        f"--parsable --array=0 --dependency=afterok:7 --kill-on-invalid-dep=yes --gpus-per-task=0 {script}",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["calls", "job.sh", "sbatch"]
