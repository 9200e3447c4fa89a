"""Words of other tools: what somebody used to timm or scikit-learn types, and the option or command that is meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import click

__all__ = ["COMMAND_WORDS", "OPTION_WORDS", "Word", "commands_below", "explained"]


@dataclass(frozen=True)
class Word:
    """Words that mean the same.

    Attributes
    ----------
    words : tuple of str
        What is typed, in lower case, with hyphens, without those in front.
    meant : tuple of str
        Options with or without a value (``"--device gpu"``), arguments (``"MANIFEST"``), or commands
        (``"protocol make"``).
    note : str
        What to say of a command that has none of these options.
    """

    words: tuple[str, ...]
    meant: tuple[str, ...]
    note: str = ""


def _word(words: str, *meant: str, note: str = "") -> Word:
    return Word(tuple(words.split()), meant, note)


OPTION_WORDS = (
    _word("model model-name arch architecture net network backbones", "--backbone"),
    _word(
        "checkpoint ckpt initial-checkpoint pretrained pretrained-weights weight", "--weights", "--backbone"
    ),
    _word("resume", note="nothing: the same command resumes where it was interrupted"),
    _word("data data-dir dataset csv input manifest df", "MANIFEST", "--manifest"),
    _word("image-dir images-dir img-dir image-folder data-root image-root", "--root", "--images"),
    _word("label labels label-column target classes class-map y pos-label", "--task"),
    _word(
        "group groups group-column patient patient-id lesion-id",
        "--group-column",
        note="groups are the column `group` of the manifest; rename that of the patients or lesions",
    ),
    _word("cv folds n-folds k-folds kfold n-splits splits k", "--protocol kfold:5", "--fold"),
    _word("test-size test-split val val-split train-size holdout", "--protocol holdout"),
    _word("inner-cv inner-folds", "--inner-splits"),
    _word("train-fractions fractions train-sizes learning-curve subsample", "--train-fraction"),
    _word("k-shot few-shot n-shots", "--shots"),
    _word("noqa skip-check ignore-check", "--ignore"),
    _word("c cs cost grid param-grid c-grid regularization", "--costs"),
    _word("scaler scale standardize standardise normalize normalise", "--scaling"),
    _word(
        "kernel gamma degree",
        note="SVMs of featx are linear; `--loss` and `--costs` of `featx train-svm` vary them",
    ),
    _word("balanced class-weights", "--class-weight", "--balance"),
    _word("probability proba calibration", "--calibrate"),
    _word("x embeddings feature-dir features-dir store feature", "--features"),
    _word("lr base-lr learning-rate-init eta", "--learning-rate"),
    _word("head-lr", "--head-learning-rate"),
    _word("layer-decay llrd", "--first-layer-share"),
    _word("epoch n-epochs num-epochs max-epochs", "--epochs"),
    _word("freeze-epochs linear-probe", "--head-epochs"),
    _word("wd", "--weight-decay"),
    _word("opt optim solver-type", "--optimizer"),
    _word("sched scheduler lr-scheduler", "--schedule"),
    _word("warmup warmup-steps", "--warmup-epochs"),
    _word("smoothing", "--label-smoothing"),
    _word("drop drop-rate", "--dropout"),
    _word("clip-grad clip max-grad-norm", "--clip-norm"),
    _word("ema model-ema ema-decay", "--ema-epochs"),
    _word("grad-accum grad-accum-steps accumulation-steps", "--accumulate"),
    _word("aa auto-augment augment", "--rand-augment", "--views"),
    _word("hflip", "--flip"),
    _word("early-stopping", "--patience"),
    _word("config-file hparams params", "--recipe", "--config"),
    _word("tta n-views", "--views"),
    _word("bs batch", "--batch-size"),
    _word("img-size input-size size resolution image-resolution", "--image-size"),
    _word("layers layer-name feature-layer", "--layer"),
    _word("pooling global-pool gp", "--pool"),
    _word("preprocess preprocessing transform crop", "--preparation"),
    _word("amp fp16 half bf16 dtype mixed-precision", "--precision"),
    _word(
        "cuda gpu gpus use-gpu device",
        "--device gpu",
        note="a GPU that the backend of Keras sees is used; CUDA_VISIBLE_DEVICES chooses among several",
    ),
    _word("n-jobs num-workers n-workers jobs nproc threads", "--workers"),
    _word("random-state random-seed rng", "--seed"),
    _word("out outdir out-dir output-dir save save-dir results-dir dest", "--output"),
    _word("force overwrite-existing", "--overwrite"),
    _word("dry simulate", "--dry-run"),
    _word("cache-dir", "--cache"),
    _word("log log-file logfile logging json-log", "--log-json"),
    _word("mail email mail-to callback webhook", "--notify"),
    _word("by strata stratify breakdown", "--stratum"),
    _word("fairness equity subgroups sensitive-features", "--subgroup"),
    _word("baseline versus vs", "--compare"),
    _word("guideline tripod tripod-ai stard stard-ai claim", "--checklist"),
    _word("tracking-uri mlflow-uri track", "--mlflow"),
)


"""Options by their names elsewhere."""


COMMAND_WORDS = (
    _word(
        "train fit svm svc linearsvc classify classifier cross-validate cross-val grid-search",
        "train-svm",
        "study run",
    ),
    _word(
        "infer inference apply score classify-images",
        "predict",
        note="for images with labels, --test of train-svm gives the AUC too",
    ),
    _word("features feature embed embeddings encode forward extract-features featurize", "extract"),
    _word("fine-tune tune transfer retrain train-network", "finetune"),
    _word("checklist checklists table1 flowchart mlflow", "report"),
    _word("evaluate eval metrics compare plot auc summary summarize", "report"),
    _word("split splits folds fold kfold cv make-folds train-test-split", "protocol make"),
    _word("validate inspect describe stats", "data check"),
    _word("datasets download", "data fetch", "zoo fetch"),
    _word("models model list-models backbones networks", "zoo list"),
    _word("weights", "zoo fetch", "zoo convert"),
    _word("experiment benchmark sweep pipeline start resume", "study run"),
    _word("gradcam grad-cam cam explain heatmap attention", "saliency"),
    _word("corrupt corruption corruptions stress stress-test imagenet-c perturb", "robustness"),
    _word(
        "umap tsne t-sne pca projection visualize visualise compute-visualization neighbours neighbors mistakenness label-noise cleanlab",
        "embedding",
    ),
    _word("clean clear stores", "cache prune", "cache ls"),
    _word("example tutorial quickstart", "demo"),
    _word("onnx deploy freeze to-onnx savedmodel", "export"),
    _word("refit final fit-all", "finalize"),
    _word("model-card modelcard", "card"),
    _word("external validate-externally", "train-svm", note="with --test MANIFEST"),
    _word("sbatch hpc queue", "cluster slurm"),
    _word("k8s kubectl helm", "cluster kubernetes"),
    _word("certificate ssl", "cluster tls"),
    _word("diagnose diagnostics selftest self-test env env-info sysinfo system-info", "doctor"),
)


"""Commands by their names elsewhere."""


def explained(error: click.UsageError) -> click.UsageError:
    """Say of an unknown option or command what may be meant.

    Returns
    -------
    click.UsageError
        The same of an option or command that does not exist, with a suggestion; any other as it is.
    """
    if error.ctx is None:
        return error
    if isinstance(error, click.NoSuchOption):
        return click.UsageError(_option_message(error.option_name, error.ctx), error.ctx)
    unknown = re.match(r"No such command '(.*)'", error.message)
    if unknown:
        return click.UsageError(_command_message(unknown[1], error.ctx), error.ctx)
    return error


def commands_below(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """List the commands of a group, and of its groups, that do something."""
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from commands_below(inner, (*path, name))


def _option_message(given: str, context: click.Context) -> str:
    word = given.lstrip("-").lower().replace("_", "-")
    known = _names(context.command)
    row = next((row for row in OPTION_WORDS if word in row.words), Word((), ()))
    said = f"No such option {given}"
    if meant := [text for text in (f"--{word}", *row.meant) if text.split()[0] in known]:
        return f"{said}; did you mean {_either([_spoken(text) for text in meant[:2]])}?"
    if row.note:
        return f"{said}; {row.note}"
    root = context.find_root().command
    elsewhere = [
        f"`featx {path}` has {name}"
        for name in (f"--{word}", *(text.split()[0] for text in row.meant))
        for path, other in commands_below(root)
        if name.startswith("--") and name in _names(other)
    ]
    if elsewhere:
        return f"{said}; {_either(elsewhere[:3])}"
    if commands := next((row.meant for row in COMMAND_WORDS if word in row.words), ()):
        return f"{said}; did you mean the command `featx {commands[0]}`?"
    near = _nearest(word, known)
    return f"{said}; did you mean {_either(near)}?" if near else f"{said}; this command has no similar option"


def _nearest(word: str, known: set[str]) -> list[str]:
    """Find a command's options with a similar name, or the one whose name elsewhere is more similar."""
    elsewhere = {
        f"--{other}": text
        for row in OPTION_WORDS
        for text in row.meant
        for other in row.words
        if text.split()[0] in known and text.startswith("--")
    }
    best = difflib.get_close_matches(f"--{word}", sorted(known | elsewhere.keys()), 1)
    if best and best[0] not in known:
        return [elsewhere[best[0]]]
    # What is alike by little but its hyphens is named only where nothing else is near.
    options = sorted(known)
    return difflib.get_close_matches(f"--{word}", options, 2, 0.7) or difflib.get_close_matches(
        f"--{word}", options, 2
    )


@cache
def _names(command: click.Command) -> set[str]:
    """Name a command's long options, and its arguments as its help writes them."""
    options = {
        name
        for param in command.params
        for name in (*param.opts, *param.secondary_opts)
        if name.startswith("--")
    }
    arguments = {
        param.make_metavar(click.Context(command))
        for param in command.params
        if isinstance(param, click.Argument)
    }
    return options | arguments


def _spoken(text: str) -> str:
    return text if text.startswith("--") else f"the argument {text}, without an option"


def _command_message(given: str, context: click.Context) -> str:
    word = given.lower().replace("_", "-")
    paths = [path for path, _ in commands_below(context.find_root().command)]
    here = " ".join(context.command_path.split()[1:])
    row = next((row for row in COMMAND_WORDS if word in row.words), Word((), ()))
    same = [path for path in paths if path.split()[-1] == word]
    inside = [path for path in (*same, *row.meant) if here and path.startswith(f"{here} ")]
    group = context.command
    assert isinstance(group, click.Group)
    ours = [
        f"{here} {name}".strip() for name in difflib.get_close_matches(word, group.list_commands(context), 2)
    ]
    meant = inside or same or list(row.meant) or ours or difflib.get_close_matches(word, paths, 2)
    said = f"No such command '{given}'"
    if not meant:
        return f"{said}; there is no similar command"
    more = f" ({row.note})" if row.note and meant == list(row.meant) else ""
    return f"{said}; did you mean {_either([f'`featx {path}`' for path in meant[:2]])}?{more}"


def _either(items: Sequence[str]) -> str:
    return " or ".join(items)
