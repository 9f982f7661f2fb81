"""The verbs of the command line and their options. What the verbs do is in `covid_core.cli.main`."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from covid_core import __version__
from covid_core.images.orientation import REPAIR_TITLES
from covid_core.paths import (
    DEFAULT_MODEL,
    NO_LISTING,
    dataset_dir,
    dataset_url,
    default_model,
    fetched_dir,
    models_dir,
)

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]

Handlers = Mapping[str, Callable[[argparse.Namespace], int]]
_GOES_ON = "; the same command goes on from here"
_MAX_SEED = 2**32 - 1  # NumPy's


def build_parser(handlers: Handlers) -> argparse.ArgumentParser:
    """The parser of the whole command line.

    Args:
        handlers: verb -> what carries it out.
    """
    parser = argparse.ArgumentParser(
        prog="python -m covid_core",
        description="A second reader for COVID-19 on chest X-rays. For research use only, not a medical device.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _add_data_verbs(verbs, handlers)
    _add_training_verbs(verbs, handlers)
    _add_use_verbs(verbs, handlers)
    _add_report(verbs, handlers)
    return parser


def _add_data_verbs(verbs: "Verbs", handlers: Handlers) -> None:
    fetch = _verb(verbs, handlers, "fetch", "download the COVID-19 Image Data Collection; skips complete files")
    fetch.add_argument(
        "--out", type=Path, default=fetched_dir(), help="folder to fill; by default one that the app looks in"
    )
    fetch.set_defaults(after_interrupt=_GOES_ON)
    fetch.add_argument("--metadata-only", action="store_true", help="only metadata.csv, under 1 MB")
    fetch.add_argument(
        "--verify",
        action="store_true",
        help="also compare the checksums of files that are here, and download those that differ",
    )
    fetch.add_argument("--url", default=dataset_url(), help="where metadata.csv and images/ are")
    fetch.add_argument(
        "--listing",
        metavar=f"URL|{NO_LISTING}",
        help="git tree of GitHub's REST API to compare the files with; if not given, that of the public address",
    )

    prepare = _verb(verbs, handlers, "prepare", "choose the cohort, find duplicates, split by patient, lay out folders")
    prepare.add_argument(
        "--dataset", type=Path, default=dataset_dir() or fetched_dir(), help="folder with metadata.csv and images/"
    )
    prepare.add_argument("--out", type=Path, default=Path("dataset"), help="folder for split/, split.csv and flow.json")
    prepare.add_argument(
        "--ambiguous",
        choices=("drop", "non_covid", "covid"),
        default="drop",
        help="No Finding films of patients with COVID-19",
    )
    prepare.add_argument("--no-supine", action="store_true", help="never add AP Supine views")
    prepare.add_argument(
        "--fractions",
        type=float,
        nargs=3,
        metavar=("TRAIN", "VAL", "TEST"),
        default=(0.7, 0.15, 0.15),
        help="must add up to 1",
    )
    prepare.add_argument("--seed", type=_whole(0, _MAX_SEED), default=0, help="of the split")
    _add_audit(verbs, handlers)


def _add_audit(verbs: "Verbs", handlers: Handlers) -> None:
    audit = _verb(
        verbs, handlers, "audit", "look for what is wrong or misleading in a collection; exit code 1 if it is too grave"
    )
    audit.add_argument(
        "--collection",
        type=Path,
        default=dataset_dir() or fetched_dir(),
        help="folder with metadata.csv and images/",
    )
    audit.add_argument(
        "--table-only",
        action="store_true",
        help="the table alone; without it a collection without images is an error",
    )
    audit.add_argument(
        "--fail-on",
        choices=("error", "warning", "notice", "never"),
        default="error",
        help="exit code 1 from this severity on",
    )
    audit.add_argument("--json", action="store_true", help="one JSON object, with all rows")
    audit.add_argument(
        "--no-cache", action="store_true", help="read every file anew, and keep nothing of it for the next time"
    )


def _add_training_verbs(verbs: "Verbs", handlers: Handlers) -> None:
    train = _verb(
        verbs, handlers, "train", "initial training, lower 2/3 of the backbone frozen; goes on where it was interrupted"
    )
    _add_recipe(train)
    train.add_argument("--out", type=Path, default=Path("runs/mobilenetv2"), help="the run's folder")
    train.set_defaults(after_interrupt=f"{_GOES_ON} (without --restart)")
    train.add_argument("--restart", action="store_true", help="throw away what --out holds and start anew")

    finetune = _verb(
        verbs, handlers, "finetune", "train all layers on, at learning rate 1e-5; goes on where it was interrupted"
    )
    finetune.set_defaults(after_interrupt=_GOES_ON)
    _add_run(finetune)

    crossval = _verb(
        verbs,
        handlers,
        "crossval",
        "train and evaluate a recipe on patient-grouped folds; goes on where it was interrupted",
    )
    _add_recipe(crossval)
    crossval.add_argument("--out", type=Path, default=Path("runs/crossval"), help="folder of the folds' runs")
    crossval.add_argument("--folds", type=Path, default=models_dir() / "folds.csv", help="made if it is not there")
    crossval.add_argument(
        "--stage", choices=("initial", "finetune"), default="finetune", help="the last stage, whose model is judged"
    )
    crossval.set_defaults(after_interrupt=_GOES_ON)

    evaluate = _verb(verbs, handlers, "evaluate", "classification report, sensitivity and specificity on the test part")
    judged = evaluate.add_mutually_exclusive_group()
    _add_run(judged)
    judged.add_argument("--model", default=None, help="a bundle instead, by name or folder: again from its predictions")
    _add_external(evaluate)
    evaluate.add_argument(
        "--dataset",
        type=Path,
        default=None,
        help="the prepared dataset of a bundle: counts its cohort, and leaves out external films that are copies of its films",
    )
    _add_collection(evaluate, "for subgroups")
    _add_stage(evaluate)

    export = _verb(verbs, handlers, "export", "evaluate a run and write it as a model bundle, checked against Keras")
    _add_run(export)
    _add_stage(export)
    _add_collection(export, "for subgroups")
    export.add_argument("--out", type=Path, required=True, help="the bundle's folder, for example models/mobilenetv2")

    annotations = (dataset_dir() or fetched_dir()) / "annotations"
    pretrain = _verb(
        verbs,
        handlers,
        "pretrain",
        "train MobileNetV2 on chest radiographs of several collections; goes on where it was interrupted",
    )
    _add_inputs(pretrain)
    pretrain.add_argument(
        "--collections",
        type=Path,
        required=True,
        help="folder with siim/, adults/, auxiliary/, pretraining/; see docs/DATA.md",
    )
    _add_external(pretrain)
    pretrain.add_argument("--out", type=Path, default=Path("runs/chest"), help="the run's folder")
    pretrain.set_defaults(after_interrupt=_GOES_ON)

    build = _verb(
        verbs, handlers, "build", "fit the heads of a pretrained network, evaluate it and export the app's model"
    )
    build.add_argument("--run", dest="run_folder", type=Path, default=Path("runs/chest"), help="folder of `pretrain`")
    build.add_argument("--dataset", type=Path, default=Path("dataset"), help="folder written by `prepare`")
    build.add_argument(
        "--weights", metavar="imagenet|none|FILE", default="imagenet", help="the backbone's, as given to `pretrain`"
    )
    build.add_argument("--annotations", type=Path, default=annotations, help="folder with the lung masks")
    build.add_argument("--folds", type=Path, default=models_dir() / "folds.csv", help="made if it is not there")
    build.add_argument(
        "--former",
        type=Path,
        default=None,
        help="folder with predictions.jsonl (`predict --json`) and evaluation.json of another model, to compare with",
    )
    _add_external(build)
    _add_collection(build, "for subgroups")
    build.add_argument("--out", type=Path, default=models_dir() / DEFAULT_MODEL, help="the bundle's folder")
    _add_gate(verbs, handlers)


def _add_gate(verbs: "Verbs", handlers: Handlers) -> None:
    gate = _verb(
        verbs,
        handlers,
        "gate",
        "give a bundle a gate: it refuses what is no frontal chest X-ray, and finds similar films",
    )
    gate.add_argument("--model", default=default_model(), help="a bundle's folder, or its name in models/")
    gate.add_argument("--dataset", type=Path, default=Path("dataset"), help="the prepared dataset it was trained on")
    _add_collection(gate, "for its lateral films and CT slices")
    gate.add_argument(
        "--collections", type=Path, default=None, help="folder of collections: adults of other hospitals, and children"
    )
    gate.add_argument(
        "--hospitals",
        type=Path,
        nargs="+",
        default=(),
        help="folders of frontal chest films from elsewhere, that should pass",
    )


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    _add_inputs(parser)
    parser.add_argument("--backbone", choices=("mobilenetv2", "resnet50"), default="mobilenetv2", help="network")
    parser.add_argument("--epochs", type=_whole(1), default=15, help="most epochs of the initial training")
    parser.add_argument("--finetune-epochs", type=_whole(1), default=15, help="most epochs of the fine-tuning")
    parser.add_argument("--batch-size", type=_whole(1), default=32, help="films a step")
    parser.add_argument("--size", type=_whole(32, 1024), default=224, help="side of the input, pixels")


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    """What every training starts from."""
    parser.add_argument("--dataset", type=Path, default=Path("dataset"), help="folder written by `prepare`")
    parser.add_argument(
        "--weights", metavar="imagenet|none|FILE", default="imagenet", help="`imagenet` downloads through Keras"
    )
    parser.add_argument("--seed", type=_whole(0, _MAX_SEED), default=0, help="of weights, order and augmentation")
    parser.add_argument(
        "--threads", type=_whole(1), default=2, help="part of the recipe: another number gives other weights"
    )


def _add_use_verbs(verbs: "Verbs", handlers: Handlers) -> None:
    predict = _verb(
        verbs,
        handlers,
        "predict",
        "classify films (PNG, JPEG or DICOM, or ZIP files of them); exit code 1 if any is refused",
    )
    predict.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="film, or ZIP file of films")
    predict.add_argument("--model", default=default_model(), help="a bundle's folder, or its name in models/")
    predict.add_argument(
        "--repair",
        choices=tuple(REPAIR_TITLES),
        action="append",
        default=[],
        help="put the films right first; give it again for another repair",
    )
    predict.add_argument(
        "--anyway",
        action="store_true",
        help="predict what the gate refuses as no frontal chest X-ray; marked in the output",
    )
    predict.add_argument("--json", action="store_true", help="one JSON object a line; a refused film has one, too")


def _add_report(verbs: "Verbs", handlers: Handlers) -> None:
    report = _verb(verbs, handlers, "report", "write the report of a model as one HTML file")
    report.add_argument("--model", default=default_model(), help="a bundle's folder, or its name in models/")
    report.add_argument(
        "--out",
        type=Path,
        default=None,
        help="HTML file to write; NAME-report.html in this folder by default",
    )
    report.add_argument(
        "--compare",
        nargs="*",
        default=None,
        metavar="MODEL",
        help="models to compare with; all others by default, none for none",
    )
    report.add_argument(
        "--threshold", type=_share, default=None, help="call COVID-19 from here on; the model's own by default"
    )
    report.add_argument(
        "--prevalence",
        type=_share,
        default=None,
        help="share of COVID-19 among those who are read; by default that of the films judged",
    )
    _add_collection(report, "to describe the films that are called wrongly")


def _share(text: str) -> float:
    """The type of an option that is a share, more than 0 and less than 1; anything else is bad usage."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must be a number between 0 and 1. Received: {text!r}")
    return value


def _verb(verbs: "Verbs", handlers: Handlers, name: str, summary: str) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        name,
        help=summary,
        description=summary.capitalize() + ".",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.set_defaults(run=handlers[name], after_interrupt="")
    return parser


def _whole(lowest: int, highest: int | None = None) -> Callable[[str], int]:
    """The type of an option that is a whole number within bounds; anything else is bad usage."""

    def parsed(text: str) -> int:
        if not text.strip().isdecimal() or int(text) < lowest or (highest is not None and int(text) > highest):
            bounds = f"from {lowest} to {highest}" if highest is not None else f"of at least {lowest}"
            raise argparse.ArgumentTypeError(f"must be a whole number {bounds}. Received: {text!r}")
        return int(text)

    return parsed


def _add_run(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--run", dest="run_folder", type=Path, default=Path("runs/mobilenetv2"), help="the run's folder"
    )


def _add_external(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--external", type=Path, nargs="+", default=(), help="folders with labels.csv and images/ to test the bundle on"
    )


def _add_collection(parser: argparse.ArgumentParser, purpose: str) -> None:
    parser.add_argument(
        "--collection",
        type=Path,
        default=dataset_dir(),
        help=f"folder with metadata.csv that the dataset was prepared from, {purpose}",
    )


def _add_stage(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stage", choices=("initial", "finetune"), default=None, help="default: the last finished one")
