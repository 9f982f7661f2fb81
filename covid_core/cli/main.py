"""The command line: parse, call, print. Each subcommand imports only what it needs, so that `predict` starts at once."""

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from covid_core.cli.arguments import build_parser
from covid_core.errors import CovidCoreError, EvaluationError, Refusal
from covid_core.paths import models_dir

if TYPE_CHECKING:
    from covid_core.inference.bundle import Bundle
    from covid_core.inference.prediction import Reading
    from covid_core.training.recipe import Recipe

EXIT_FAILURE = 1
EXIT_INTERRUPTED = 130
TRAINING_PACKAGES = ("keras", "tensorflow")
_STDERR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        arguments: without the program's name; those of the process by default.

    Returns:
        0 on success, 1 on failure (with one line on stderr), 130 when interrupted; bad usage leaves with 2.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may hold what the terminal's encoding does not
            stream.reconfigure(errors="backslashreplace")
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
        print(
            f"error: this command needs {package}: pip install -r requirements-train.txt, or covid-core[train]",
            file=sys.stderr,
        )
        return EXIT_FAILURE
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has left; there is no one to tell
        return EXIT_FAILURE
    except OSError as error:  # a full disk, a folder without permission: no defect of ours
        print(f"error: {error.strerror or error}: {error.filename or 'no file named'}", file=sys.stderr)
        return EXIT_FAILURE
    return code


def _fetch(options: argparse.Namespace) -> int:
    from covid_core.dataset.download import fetch_dataset
    from covid_core.paths import dataset_listing

    with _progress("fetching", "file") as progress:
        report = fetch_dataset(
            options.out,
            base_url=options.url,
            listing_url=dataset_listing(options.url, options.listing),
            metadata_only=options.metadata_only,
            verify=options.verify,
            progress=progress,
        )
    print(f"{options.out}: {report.sentences()[0]}", *report.sentences()[1:], sep="\n")
    return 0


def _prepare(options: argparse.Namespace) -> int:
    from covid_core.dataset.cohort import CohortRules
    from covid_core.dataset.prepare import prepare_dataset, summary_lines

    rules = CohortRules(ambiguous=options.ambiguous, include_supine=not options.no_supine)
    with _progress("reading images, then comparing them", "film") as progress:
        prepared = prepare_dataset(
            options.dataset,
            options.out,
            rules=rules,
            fractions=tuple(options.fractions),
            seed=options.seed,
            progress=progress,
            comparing=progress,
        )
    print(summary_lines(prepared))
    return 0


def _audit(options: argparse.Namespace) -> int:
    from covid_core.audit.render import audit_json, summary_lines
    from covid_core.audit.run import audit_dataset
    from covid_core.dataset.duplicates import fingerprint_files
    from covid_core.dataset.image_cache import CACHE_NAME, ImageCache
    from covid_core.paths import cache_dir

    fingerprints = fingerprint_files if options.no_cache else ImageCache(cache_dir() / CACHE_NAME).fingerprints
    with _progress("auditing", "image") as progress:
        audit = audit_dataset(
            options.collection,
            table_only=options.table_only,
            progress=progress,
            comparing=progress,
            fingerprints=fingerprints,
        )
    print(audit_json(audit) if options.json else summary_lines(audit))
    grave = () if options.fail_on == "never" else audit.at_least(options.fail_on)
    if grave:
        print(f"error: {len(grave)} findings at or above `{options.fail_on}`, see the output", file=sys.stderr)
    return EXIT_FAILURE if grave else 0


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
    from covid_core.evaluation.summary import summary_lines

    recipe, weights_file = _recipe(options)
    with _native_messages_hidden():
        from covid_core.training.crossval import cross_validate
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
    from covid_core.images.preprocess import Preparation
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


def _pretrain(options: argparse.Namespace) -> int:
    from covid_core.training.recipe import named_weights

    with _native_messages_hidden():
        from covid_core.training.chest_recipe import ChestRecipe
        from covid_core.training.pretraining import pretrain

    weights, sha256, weights_file = named_weights(options.weights)
    recipe = ChestRecipe(weights=weights, weights_sha256=sha256, seed=options.seed, threads=options.threads)
    pretrain(
        options.collections,
        options.dataset,
        options.out,
        recipe,
        weights_file=weights_file,
        external=tuple(options.external),
        say=_said_with_seconds(),
    )
    print(f"written: {options.out}; `build --run {options.out}` makes a bundle of it")
    return 0


def _build(options: argparse.Namespace) -> int:
    from covid_core.evaluation.evaluate import read_evaluation
    from covid_core.evaluation.summary import summary_lines
    from covid_core.training.recipe import named_weights

    with _native_messages_hidden():
        from covid_core.training.build import Materials, build

    _, _, weights_file = named_weights(options.weights)
    materials = Materials(
        run=options.run_folder,
        dataset=options.dataset,
        annotations=options.annotations,
        folds=options.folds,
        weights=weights_file,
        external=options.external,
        collection=options.collection,
        former=options.former,
    )
    started = time.monotonic()
    bundle = build(materials, options.out, _said_with_seconds())
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
    from covid_core.evaluation.summary import summary_lines

    with _native_messages_hidden():
        from covid_core.training.workflows import evaluate_bundle, evaluate_run

    if options.model is not None:
        if options.stage is not None:
            raise EvaluationError("--stage chooses a model of a run; a bundle has one. Leave it out with --model.")
        folder = _bundle_folder(options.model)
        with _progress("predicting", "film") as progress:
            evaluation = evaluate_bundle(
                folder, options.external, options.dataset, progress, collection=options.collection
            )
        print(summary_lines(evaluation))
        print(f"\nwritten: {folder / 'evaluation.json'}, MODEL_CARD.md")
        return 0
    if options.external:
        raise EvaluationError("--external tests a model bundle: name it with --model.")
    with _progress("decoding", "film") as progress:
        evaluated = evaluate_run(options.run_folder, options.stage, progress, collection=options.collection)
    print(summary_lines(evaluated.evaluation))
    print(f"\nwritten: {evaluated.run.stage_folder(evaluated.stage) / 'evaluation.json'}")
    return 0


def _export(options: argparse.Namespace) -> int:
    with _native_messages_hidden():
        from covid_core.training.workflows import export_run

    with _progress("decoding", "film") as progress:
        bundle = export_run(options.run_folder, options.out, options.stage, progress, collection=options.collection)
    parity = bundle.manifest["parity"]
    print(
        f"written: {bundle.folder} (version {bundle.version}); "
        f"LiteRT agrees with Keras on {parity['films']} images to {parity['max_abs_difference']:.1e}"
    )
    return 0


def _gate(options: argparse.Namespace) -> int:
    from covid_core.report.tables import optional_tables

    with _native_messages_hidden():
        from covid_core.training.gate_figures import pictures_by_kind, write_gate

    folder = _bundle_folder(options.model)
    elsewhere = {name: films for folder in options.hospitals for name, films in pictures_by_kind(folder).items()}
    block = write_gate(
        folder,
        options.dataset,
        options.collection,
        hospitals=elsewhere,
        elsewhere=options.collections,
        say=_said_with_seconds(),
    )
    for table in optional_tables({"gate": block}):
        print(f"{table.note}\n\n{table.markdown()}")
    print(f"\nwritten: {folder / 'gate.npz'}, evaluation.json, MODEL_CARD.md")
    return 0


def _predict(options: argparse.Namespace) -> int:
    from dataclasses import replace

    from covid_core.inference.batch import given_path, read_all
    from covid_core.inference.bundle import load_bundle
    from covid_core.inference.predictor import Predictor

    bundle = load_bundle(_bundle_folder(options.model))
    with _native_messages_hidden():
        predictor = Predictor(bundle)
    films = [
        replace(one, repairs=tuple(options.repair), anyway=options.anyway)
        for path in options.images
        for one in given_path(path)
    ]
    refused = 0
    with _progress("predicting", "film", shown=len(films) > 1) as progress:
        for index, result in enumerate(read_all(predictor, films), start=1):
            progress(index, len(films))
            refused += isinstance(result.outcome, Refusal)
            if options.json:
                print(_result_json(result, bundle), flush=True)
            else:
                heading = f"{result.file}\n" if len(films) > 1 else ""
                print(heading + _result_text(result, bundle), flush=True)
    if refused:
        print(f"error: {refused} of {len(films)} refused, the reasons are in the output", file=sys.stderr)
    return EXIT_FAILURE if refused else 0


def _report(options: argparse.Namespace) -> int:
    from covid_core.inference.bundle import load_bundle
    from covid_core.report.build import ReportOptions, build_report, default_options
    from covid_core.report.html import write_report
    from covid_core.report.record import read_others, read_record

    bundle = load_bundle(_bundle_folder(options.model))
    record = read_record(bundle, options.collection)
    if options.compare is None:
        others, unread = read_others(bundle.name)
        for error in unread.values():
            print(f"not compared: {error}", file=sys.stderr)
    else:
        others = tuple(read_record(load_bundle(_bundle_folder(name))) for name in options.compare)
    default = default_options(record, others)
    threshold = default.threshold if options.threshold is None else options.threshold
    chosen = ReportOptions(record, others, threshold, options.prevalence or default.prevalence)
    out = options.out or Path(f"{bundle.name}-report.html")
    write_report(build_report(chosen), out)
    print(f"written: {out} ({out.stat().st_size / 1e6:.1f} MB)")
    return 0


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


def _result_text(result: "Reading", bundle: "Bundle") -> str:
    from covid_core.evaluation.conformal import INDETERMINATE
    from covid_core.inference.wording import PATTERN_TITLES, cautions, indeterminate_range

    outcome = result.outcome
    if isinstance(outcome, Refusal):
        return f"Refused:\n  {outcome}"
    lines = ["Result:", f"  Class      : {outcome.label}", f"  Confidence : {outcome.confidence:.1%}"]
    if bundle.three_way is not None and outcome.decision == INDETERMINATE:
        lines.append(f"  Decision   : {INDETERMINATE} ({indeterminate_range(bundle.three_way)})")
    if outcome.spread is not None:
        low, high = outcome.spread
        lines.append(f"  Ensemble   : P(covid) {low:.2f} to {high:.2f}, the model's {outcome.probability_covid:.2f}")
    if outcome.pattern is not None:
        lines.append(f"  Leans to   : {PATTERN_TITLES[outcome.pattern]}")
    if outcome.affected is not None:
        lines.append(f"  Opacities  : in {outcome.affected:.0%} of the lungs")
    if result.repairs:
        lines.append(f"  Repaired   : {', '.join(result.repairs)}")
    return "\n".join([*lines, *(f"  Caution    : {caution}" for caution in cautions(result))])


def _result_json(result: "Reading", bundle: "Bundle") -> str:
    """A result as one line: the record of the exports, its class under `label` as well, without what it has not."""
    from covid_core.inference.results import result_record

    record = result_record(result, bundle)
    record["label"] = record.pop("class")
    return json.dumps({name: value for name, value in record.items() if value not in (None, [])})


def _said_with_seconds() -> Callable[[str], None]:
    """Prints lines on stderr, each with the seconds since now."""
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - started:4.0f} s] {line}", file=sys.stderr, flush=True)

    return say


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


class _Bar:
    """Called with (done, total) it moves a progress bar, where there is one."""

    def __init__(self, bar: Any = None) -> None:
        """`bar`: one of tqdm's; None where none is shown."""
        self._bar = bar

    def __call__(self, done: int, total: int) -> None:
        if self._bar is not None:
            self._bar.total = total or None
            self._bar.update(done - self._bar.n)


@contextmanager
def _progress(title: str, unit: str, *, shown: bool = True) -> Iterator[_Bar]:
    """A progress bar on stderr, if that is a terminal."""
    if not (shown and sys.stderr.isatty()):
        yield _Bar()
        return
    from tqdm import tqdm

    with tqdm(desc=title, unit=unit, leave=False) as bar:
        yield _Bar(bar)


def _parser() -> argparse.ArgumentParser:
    return build_parser(
        {
            "fetch": _fetch,
            "prepare": _prepare,
            "audit": _audit,
            "pretrain": _pretrain,
            "build": _build,
            "train": _train,
            "finetune": _finetune,
            "crossval": _crossval,
            "evaluate": _evaluate,
            "export": _export,
            "gate": _gate,
            "predict": _predict,
            "report": _report,
        }
    )
