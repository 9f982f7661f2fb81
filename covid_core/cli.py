"""The command line: parse, call, print. Each verb imports only the rooms it needs, so that `predict` starts at once."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from covid_core import __version__
from covid_core.errors import CovidCoreError, EvaluationError, ImageRefusedError
from covid_core.locations import (
    DATASET_NAME,
    DEFAULT_MODEL,
    FETCHED_DATASET,
    dataset_dir,
    default_model,
    models_dir,
)

if TYPE_CHECKING:
    from covid_core.inference.bundle import Bundle
    from covid_core.inference.predictor import Prediction
    from covid_core.training.recipe import Recipe

    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]

EXIT_FAILURE = 1
EXIT_INTERRUPTED = 130
TRAINING_PACKAGES = ("keras", "scipy", "sklearn", "tensorflow")
_GOES_ON = "; the same command goes on from here"
_STDERR = 2
_MAX_SEED = 2**32 - 1  # NumPy's


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: without the program's name; those of the process by default.

    Returns:
        0 on success, 1 on failure (with one line on stderr), 130 when interrupted; bad usage leaves with 2.
    """
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except CovidCoreError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILURE
    except KeyboardInterrupt:
        print(f"interrupted{options.after_interrupt}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in TRAINING_PACKAGES:
            raise
        print(f"error: this verb needs {package}: pip install -r requirements-train.txt", file=sys.stderr)
        return EXIT_FAILURE
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has left; there is no one to tell
        return EXIT_FAILURE
    except OSError as error:  # a full disk, a folder without permission: no defect of ours
        print(f"error: {error.strerror or error}: {error.filename or 'no file named'}", file=sys.stderr)
        return EXIT_FAILURE
    return code


def _fetch(options: argparse.Namespace) -> int:
    from covid_core.data.fetch import DEFAULT_URL, fetch_dataset

    with _progress("fetching", "file") as progress:
        report = fetch_dataset(
            options.out, base_url=options.url or DEFAULT_URL, metadata_only=options.metadata_only, progress=progress
        )
    print(report.summary())
    return 0


def _prepare(options: argparse.Namespace) -> int:
    from covid_core.data.cohort import CohortRules
    from covid_core.data.prepare import prepare_dataset
    from covid_core.data.summary import summary_lines

    rules = CohortRules(ambiguous=options.ambiguous, include_supine=not options.no_supine)
    with _progress("reading films", "film") as progress:
        prepared = prepare_dataset(
            options.dataset,
            options.out,
            rules=rules,
            fractions=tuple(options.fractions),
            seed=options.seed,
            progress=progress,
        )
    print(summary_lines(prepared))
    return 0


def _train(options: argparse.Namespace) -> int:
    recipe, weights_file = _recipe(options)
    with _native_messages_hidden():  # TensorFlow greets on import
        from covid_core.training import stages
    with _progress("decoding", "film") as progress:
        run = stages.train(
            options.dataset,
            options.out,
            recipe,
            weights_file=weights_file,
            restart=options.restart,
            progress=progress,
        )
    _print_stage(run.record["stages"]["initial"])
    return 0


def _crossval(options: argparse.Namespace) -> int:
    from covid_core.evaluation.report import summary_lines

    recipe, weights_file = _recipe(options)
    with _native_messages_hidden():
        from covid_core.crossval import cross_validate
    with _progress("folds", "fold") as progress:
        result = cross_validate(
            options.dataset,
            options.out,
            recipe,
            folds_file=options.folds,
            last_stage=options.stage,
            weights_file=weights_file,
            progress=progress,
        )
    print(summary_lines(result.evaluation))
    print(f"\nwritten: {options.out / 'evaluation.json'}, predictions.csv")
    return 0


def _recipe(options: argparse.Namespace) -> "tuple[Recipe, Path | None]":
    """The recipe that the options ask for, and the file of its weights if they name one."""
    from covid_core.images.preparation import Preparation
    from covid_core.training.recipe import Recipe, StageSettings, named_weights

    weights, sha256, weights_file = named_weights(options.weights)
    recipe = Recipe(
        backbone=options.backbone,
        weights=weights,
        weights_sha256=sha256,
        seed=options.seed,
        threads=options.threads,
        batch_size=options.batch_size,
        preparation=Preparation(size=options.size),
        initial=StageSettings(max_epochs=options.epochs, learning_rate=1e-4),
        finetune=StageSettings(max_epochs=options.finetune_epochs, learning_rate=1e-5),
    )
    return recipe, weights_file


def _build(options: argparse.Namespace) -> int:
    from covid_core.evaluation.report import read_evaluation, summary_lines
    from covid_core.training.recipe import named_weights

    with _native_messages_hidden():
        from covid_core.build import Materials, build
        from covid_core.training.lung_reader import LungRecipe

    weights, sha256, weights_file = named_weights(options.weights)
    materials = Materials(
        dataset=options.dataset,
        annotations=options.annotations,
        folds=options.folds,
        weights=weights_file,
        auxiliary=options.auxiliary,
        external=options.external,
    )
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - started:4.0f} s] {line}", file=sys.stderr, flush=True)

    recipe = LungRecipe(weights=weights, weights_sha256=sha256, seed=options.seed, threads=options.threads)
    bundle = build(materials, options.out, recipe, say)
    print(summary_lines(read_evaluation(bundle.file("evaluation.json"))))
    print(f"\nwritten: {bundle.folder} (version {bundle.version}) in {time.monotonic() - started:.0f} s")
    return 0


def _finetune(options: argparse.Namespace) -> int:
    with _native_messages_hidden():
        from covid_core.training import stages

    with _progress("decoding", "film") as progress:
        run = stages.finetune(options.run_folder, progress)
    initial, tuned = (run.record["stages"][stage] for stage in ("initial", "finetune"))
    _print_stage(tuned)
    if tuned["val_loss"] >= initial["val_loss"]:
        print(
            "fine-tuning did not lower the validation loss; `export --stage initial` exports the model from before it"
        )
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from covid_core.evaluation.report import summary_lines

    with _native_messages_hidden():
        from covid_core.workflows import evaluate_bundle, evaluate_run

    if options.model is not None:
        if options.stage is not None:
            raise EvaluationError("--stage chooses a model of a run; a bundle has one. Leave it out with --model.")
        folder = _bundle_folder(options.model)
        with _progress("predicting", "film") as progress:
            evaluation = evaluate_bundle(folder, options.external, options.dataset, progress)
        print(summary_lines(evaluation))
        print(f"\nwritten: {folder / 'evaluation.json'}, MODEL_CARD.md")
        return 0
    if options.external:
        raise EvaluationError("--external tests a model bundle: name it with --model.")
    with _progress("decoding", "film") as progress:
        evaluated = evaluate_run(options.run_folder, options.stage, progress)
    print(summary_lines(evaluated.evaluation))
    print(f"\nwritten: {evaluated.run.stage_folder(evaluated.stage) / 'evaluation.json'}")
    return 0


def _export(options: argparse.Namespace) -> int:
    with _native_messages_hidden():
        from covid_core.workflows import export_run

    with _progress("decoding", "film") as progress:
        bundle = export_run(options.run_folder, options.out, options.stage, progress)
    parity = bundle.manifest["parity"]
    print(
        f"written: {bundle.folder} (version {bundle.version}); "
        f"LiteRT agrees with Keras on {parity['films']} films to {parity['max_abs_difference']:.1e}"
    )
    return 0


def _predict(options: argparse.Namespace) -> int:
    from covid_core.inference.bundle import load_bundle
    from covid_core.inference.predictor import Prediction, Predictor, predict_files

    bundle = load_bundle(_bundle_folder(options.model))
    with _native_messages_hidden():
        predictor = Predictor(bundle)
    refused = 0
    with _progress("predicting", "film", shown=len(options.images) > 1) as progress:
        for index, (path, outcome) in enumerate(
            zip(options.images, predict_files(predictor, options.images), strict=True), start=1
        ):
            progress(index, len(options.images))
            if isinstance(outcome, Prediction):
                text = _prediction_json(path, outcome, bundle) if options.json else _prediction_text(outcome, bundle)
            else:
                refused += 1
                text = _refusal_json(path, outcome) if options.json else f"Refused:\n  {outcome}"
            heading = f"{path}\n" if len(options.images) > 1 and not options.json else ""
            print(heading + text, flush=True)
    if refused:
        print(f"error: {refused} of {len(options.images)} refused, the reasons are in the output", file=sys.stderr)
    return EXIT_FAILURE if refused else 0


def _bundle_folder(model: str) -> Path:
    """The folder of a bundle that is given by its own path or by its name in the folder of models."""
    from covid_core.inference.bundle import MANIFEST

    folder = Path(model)
    return folder if (folder / MANIFEST).is_file() else models_dir() / model


def _print_stage(entry: dict[str, float]) -> None:
    print(
        f"best epoch {entry['best_epoch']} of {entry['epochs']}: validation loss {entry['val_loss']:.3f}, "
        f"AUC {entry['val_auc']:.3f}; {entry['seconds']:.0f} s"
    )


def _prediction_text(prediction: "Prediction", bundle: "Bundle") -> str:
    from covid_core.evaluation.conformal import INDETERMINATE
    from covid_core.inference.results import indeterminate_range

    lines = ["Result:", f"  Class      : {prediction.label}", f"  Confidence : {prediction.confidence:.1%}"]
    if bundle.three_way is not None and prediction.decision == INDETERMINATE:
        lines.append(f"  Decision   : {INDETERMINATE} ({indeterminate_range(bundle.three_way)})")
    return "\n".join(lines)


def _prediction_json(path: Path, prediction: "Prediction", bundle: "Bundle") -> str:
    return json.dumps(
        {
            "file": str(path),
            "status": "ok",
            "label": prediction.label,
            **({} if prediction.decision is None else {"decision": prediction.decision}),
            "probability_covid": round(prediction.probability_covid, 6),
            "confidence": round(prediction.confidence, 6),
            "threshold": prediction.threshold,
            "model": bundle.name,
            "version": bundle.version,
        }
    )


def _refusal_json(path: Path, refusal: ImageRefusedError) -> str:
    return json.dumps({"file": str(path), "status": "refused", "reason": refusal.reason, "message": str(refusal)})


@contextmanager
def _native_messages_hidden() -> Iterator[None]:
    """Hide what native libraries write to file descriptor 2, such as LiteRT's notice that it uses XNNPACK.

    Python's own `sys.stderr` cannot catch that. Errors still come as exceptions.
    """
    try:
        saved = os.dup(_STDERR)
    except OSError:  # the process was started without one
        saved = None
    try:
        if saved is not None:
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), _STDERR)
        yield
    finally:
        if saved is not None:
            os.dup2(saved, _STDERR)
            os.close(saved)


@contextmanager
def _progress(title: str, unit: str, *, shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, if that is a terminal."""
    if not (shown and sys.stderr.isatty()):
        yield lambda done, total: None
        return
    from tqdm import tqdm

    with tqdm(desc=title, unit=unit, leave=False) as bar:

        def update(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m covid_core",
        description="A second reader for COVID-19 on chest X-rays. For research use only, not a medical device.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _add_data_verbs(verbs)
    _add_training_verbs(verbs)
    _add_use_verbs(verbs)
    return parser


def _add_data_verbs(verbs: "Verbs") -> None:
    fetch = _verb(
        verbs, "fetch", _fetch, "download the COVID-19 Image Data Collection; goes on where it was interrupted"
    )
    fetch.add_argument(
        "--out", type=Path, default=FETCHED_DATASET, help=f"folder to fill; the app looks in data/{DATASET_NAME}"
    )
    fetch.set_defaults(after_interrupt=_GOES_ON)
    fetch.add_argument("--metadata-only", action="store_true", help="only metadata.csv, under 1 MB")
    fetch.add_argument("--url", default=None, help="another address that holds metadata.csv and images/")

    prepare = _verb(verbs, "prepare", _prepare, "choose the cohort, find duplicates, split by patient, lay out folders")
    prepare.add_argument("--dataset", type=Path, default=FETCHED_DATASET, help="folder with metadata.csv and images/")
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


def _add_training_verbs(verbs: "Verbs") -> None:
    train = _verb(
        verbs, "train", _train, "initial training, lower 2/3 of the backbone frozen; goes on where it was interrupted"
    )
    _add_recipe(train)
    train.add_argument("--out", type=Path, default=Path("runs/mobilenetv2"), help="the run's folder")
    train.set_defaults(after_interrupt=f"{_GOES_ON} (without --restart)")
    train.add_argument("--restart", action="store_true", help="throw away what --out holds and start anew")

    finetune = _verb(
        verbs, "finetune", _finetune, "train all layers on, at learning rate 1e-5; goes on where it was interrupted"
    )
    finetune.set_defaults(after_interrupt=_GOES_ON)
    _add_run(finetune)

    crossval = _verb(
        verbs,
        "crossval",
        _crossval,
        "train and evaluate a recipe on patient-grouped folds; goes on where it was interrupted",
    )
    _add_recipe(crossval)
    crossval.add_argument("--out", type=Path, default=Path("runs/crossval"), help="folder of the folds' runs")
    crossval.add_argument("--folds", type=Path, default=models_dir() / "folds.csv", help="made if it is not there")
    crossval.add_argument(
        "--stage", choices=("initial", "finetune"), default="finetune", help="the last stage, whose model is judged"
    )
    crossval.set_defaults(after_interrupt=_GOES_ON)

    evaluate = _verb(
        verbs, "evaluate", _evaluate, "classification report, sensitivity and specificity on the test part"
    )
    judged = evaluate.add_mutually_exclusive_group()
    _add_run(judged)
    judged.add_argument("--model", default=None, help="a bundle instead, by name or folder: again from its predictions")
    _add_external(evaluate)
    evaluate.add_argument(
        "--dataset", type=Path, default=None, help="leave out external films that are copies of this prepared dataset's"
    )
    _add_stage(evaluate)

    export = _verb(verbs, "export", _export, "evaluate a run and write it as a model bundle, checked against Keras")
    _add_run(export)
    _add_stage(export)
    export.add_argument("--out", type=Path, required=True, help="the bundle's folder, for example models/mobilenetv2")

    build = _verb(
        verbs,
        "build",
        _build,
        "train, cross-validate and export the app's model in one go: frozen layers, lungs, kernel",
    )
    _add_inputs(build)
    annotations = (dataset_dir() or FETCHED_DATASET) / "annotations"
    build.add_argument("--annotations", type=Path, default=annotations, help="folder with the lung masks")
    build.add_argument("--folds", type=Path, default=models_dir() / "folds.csv", help="made if it is not there")
    build.add_argument(
        "--auxiliary", type=Path, default=None, help="labels.csv and images/ to fit on at a small weight"
    )
    _add_external(build)
    build.add_argument("--out", type=Path, default=models_dir() / DEFAULT_MODEL, help="the bundle's folder")


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


def _add_use_verbs(verbs: "Verbs") -> None:
    predict = _verb(verbs, "predict", _predict, "classify films (PNG or JPEG); exit code 1 if any is refused")
    predict.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="film")
    predict.add_argument("--model", default=default_model(), help="a bundle's folder, or its name in models/")
    predict.add_argument("--json", action="store_true", help="one JSON object a line; a refused film has one, too")


def _verb(verbs: "Verbs", name: str, run: Callable[[argparse.Namespace], int], summary: str) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        name,
        help=summary,
        description=summary.capitalize() + ".",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.set_defaults(run=run, after_interrupt="")
    return parser


def _whole(lowest: int, highest: int | None = None) -> Callable[[str], int]:
    """The type of an option that is a whole number within bounds; anything else is bad usage."""

    def parsed(text: str) -> int:
        if not text.strip().isdecimal() or int(text) < lowest or (highest is not None and int(text) > highest):
            bounds = f"from {lowest} to {highest}" if highest is not None else f"of at least {lowest}"
            raise argparse.ArgumentTypeError(f"must be a whole number {bounds}. Received: {text!r}")
        return int(text)

    return parsed


def _add_run(parser: "argparse._ActionsContainer") -> None:
    parser.add_argument(
        "--run", dest="run_folder", type=Path, default=Path("runs/mobilenetv2"), help="the run's folder"
    )


def _add_external(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--external", type=Path, nargs="+", default=(), help="folders with labels.csv and images/ to test the bundle on"
    )


def _add_stage(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stage", choices=("initial", "finetune"), default=None, help="default: the last finished one")
