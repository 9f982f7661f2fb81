"""The subcommands that make and judge a model: train, finetune, crossval, evaluate, export, pretrain, build, gate."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from covid_core.cli import common
from covid_core.errors import EvaluationError
from covid_core.paths import DEFAULT_MODEL, dataset_dir, fetched_dir, models_dir

if TYPE_CHECKING:
    from covid_core.training.recipe import Recipe


def add_to(subcommands: common.Subcommands) -> None:
    """Add these subcommands."""
    _add_train(subcommands)
    _add_finetune(subcommands)
    _add_crossval(subcommands)
    _add_evaluate(subcommands)
    _add_export(subcommands)
    _add_pretrain(subcommands)
    _add_build(subcommands)
    _add_gate(subcommands)


def _add_train(subcommands: common.Subcommands) -> None:
    summary = "initial training, lower 2/3 of the backbone frozen; goes on where it was interrupted"
    parser = subcommands.add("train", _train, summary, common.GOES_ON + " (without --restart)")
    _add_recipe(parser)
    parser.add_argument("--out", type=Path, default="runs/mobilenetv2", help="the run's folder")
    parser.add_argument("--restart", action="store_true", help="throw away what --out holds and start again")


def _train(options: argparse.Namespace) -> int:
    recipe, weights_file = _recipe(options)
    with common.native_messages_hidden():
        from covid_core.training import stages
    with common.progress("decoding", "image") as moved:
        run = stages.train(
            options.dataset, options.out, recipe, weights_file=weights_file, restart=options.restart, progress=moved
        )
    _print_stage(run.record["stages"]["initial"])
    return 0


def _add_finetune(subcommands: common.Subcommands) -> None:
    summary = "train all layers on, at learning rate 1e-5; goes on where it was interrupted"
    _add_run(subcommands.add("finetune", _finetune, summary, common.GOES_ON))


def _finetune(options: argparse.Namespace) -> int:
    with common.native_messages_hidden():
        from covid_core.training import stages
    with common.progress("decoding", "image") as moved:
        run = stages.finetune(options.run_folder, moved)
    initial, tuned = (run.record["stages"][stage] for stage in ("initial", "finetune"))
    _print_stage(tuned)
    if tuned["val_loss"] >= initial["val_loss"]:
        print(
            "fine-tuning did not lower the validation loss; `export --stage initial` exports the model from before it"
        )
    return 0


def _add_crossval(subcommands: common.Subcommands) -> None:
    summary = "train and evaluate a recipe on patient-grouped folds; goes on where it was interrupted"
    parser = subcommands.add("crossval", _crossval, summary, common.GOES_ON)
    _add_recipe(parser)
    parser.add_argument("--out", type=Path, default="runs/crossval", help="folder of the folds' runs")
    _add_folds(parser)
    parser.add_argument(
        "--stage", choices=("initial", "finetune"), default="finetune", help="the last stage, whose model is judged"
    )


def _crossval(options: argparse.Namespace) -> int:
    recipe, weights_file = _recipe(options)
    with common.native_messages_hidden():
        from covid_core.training.crossval import cross_validate
    with common.progress("folds", "fold") as moved:
        evaluation = cross_validate(
            options.dataset,
            options.out,
            recipe,
            folds_file=options.folds,
            last_stage=options.stage,
            weights_file=weights_file,
            progress=moved,
        )
    _print_evaluation(evaluation, f"{options.out / 'evaluation.json'}, predictions.csv")
    return 0


def _add_evaluate(subcommands: common.Subcommands) -> None:
    summary = "classification report, sensitivity and specificity on the test part"
    parser = subcommands.add("evaluate", _evaluate, summary)
    judged = parser.add_mutually_exclusive_group()
    _add_run(judged)
    judged.add_argument("--model", help="a bundle instead, by name or folder: again from its predictions")
    _add_external(parser)
    parser.add_argument(
        "--dataset",
        type=Path,
        help="the prepared dataset of a bundle: counts its cohort, and leaves out external images that are copies of its images",
    )
    common.add_collection(parser, "for subgroups")
    _add_stage(parser)


def _evaluate(options: argparse.Namespace) -> int:
    with common.native_messages_hidden():
        from covid_core.training.workflows import evaluate_bundle, evaluate_run

    if options.model is None:
        if options.external:
            raise EvaluationError("--external tests a model bundle: name it with --model.")
        with common.progress("decoding", "image") as moved:
            run = evaluate_run(options.run_folder, options.stage, moved, collection=options.collection)
        _print_evaluation(run.evaluation, f"{run.run.stage_folder(run.stage) / 'evaluation.json'}")
        return 0
    if options.stage is not None:
        raise EvaluationError("--stage chooses a model of a run; a bundle has one. Leave it out with --model.")
    folder = common.bundle_folder(options.model)
    with common.progress("predicting", "image") as moved:
        evaluation = evaluate_bundle(folder, options.external, options.dataset, moved, collection=options.collection)
    _print_evaluation(evaluation, f"{folder / 'evaluation.json'}, MODEL_CARD.md")
    return 0


def _add_export(subcommands: common.Subcommands) -> None:
    summary = "evaluate a run and write it as a model bundle, checked against Keras"
    parser = subcommands.add("export", _export, summary)
    _add_run(parser)
    _add_stage(parser)
    common.add_collection(parser, "for subgroups")
    parser.add_argument("--out", type=Path, required=True, help="the bundle's folder, for example models/mobilenetv2")


def _export(options: argparse.Namespace) -> int:
    with common.native_messages_hidden():
        from covid_core.training.workflows import export_run
    with common.progress("decoding", "image") as moved:
        bundle = export_run(options.run_folder, options.out, options.stage, moved, collection=options.collection)
    parity = bundle.manifest["parity"]
    print(
        f"written: {bundle.folder} (version {bundle.version}); "
        f"LiteRT agrees with Keras on {parity['films']} images to {parity['max_abs_difference']:.1e}"
    )
    return 0


def _add_pretrain(subcommands: common.Subcommands) -> None:
    summary = "train MobileNetV2 on chest radiographs of several collections; goes on where it was interrupted"
    parser = subcommands.add("pretrain", _pretrain, summary, common.GOES_ON)
    _add_inputs(parser)
    parser.add_argument(
        "--collections",
        type=Path,
        required=True,
        help="folder with siim/, adults/, auxiliary/, pretraining/; see docs/DATA.md",
    )
    _add_external(parser)
    parser.add_argument("--out", type=Path, default="runs/chest", help="the run's folder")


def _pretrain(options: argparse.Namespace) -> int:
    from covid_core.training.recipe import named_weights

    with common.native_messages_hidden():
        from covid_core.training.chest_recipe import ChestRecipe
        from covid_core.training.pretraining import pretrain

    weights, sha256, weights_file = named_weights(options.weights)
    pretrain(
        options.collections,
        options.dataset,
        options.out,
        ChestRecipe(weights=weights, weights_sha256=sha256, seed=options.seed, threads=options.threads),
        weights_file=weights_file,
        external=tuple(options.external),
        say=common.said_with_seconds(),
    )
    print(f"written: {options.out}; `build --run {options.out}` makes a bundle of it")
    return 0


def _add_build(subcommands: common.Subcommands) -> None:
    summary = "fit the heads of a pretrained network, evaluate it and export the app's model"
    parser = subcommands.add("build", _build, summary)
    parser.add_argument("--run", dest="run_folder", type=Path, default="runs/chest", help="folder of `pretrain`")
    _add_dataset(parser)
    parser.add_argument(
        "--weights", metavar="imagenet|none|FILE", default="imagenet", help="the backbone's, as given to `pretrain`"
    )
    annotations = (dataset_dir() or fetched_dir()) / "annotations"
    parser.add_argument("--annotations", type=Path, default=annotations, help="folder with the lung masks")
    _add_folds(parser)
    parser.add_argument(
        "--former",
        type=Path,
        help="folder with predictions.jsonl (`predict --json`) and evaluation.json of another model, to compare with",
    )
    _add_external(parser)
    common.add_collection(parser, "for subgroups")
    parser.add_argument("--out", type=Path, default=models_dir() / DEFAULT_MODEL, help="the bundle's folder")


def _build(options: argparse.Namespace) -> int:
    from covid_core.evaluation.evaluate import read_evaluation
    from covid_core.training.recipe import named_weights

    with common.native_messages_hidden():
        from covid_core.training.build import Materials, build

    materials = Materials(
        run=options.run_folder,
        dataset=options.dataset,
        annotations=options.annotations,
        folds=options.folds,
        weights=named_weights(options.weights)[2],
        external=options.external,
        collection=options.collection,
        former=options.former,
    )
    started = time.monotonic()
    bundle = build(materials, options.out, common.said_with_seconds())
    seconds = time.monotonic() - started
    evaluation = read_evaluation(bundle.file("evaluation.json"))
    _print_evaluation(evaluation, f"{bundle.folder} (version {bundle.version}) in {seconds:.0f} s")
    return 0


def _add_gate(subcommands: common.Subcommands) -> None:
    summary = "give a bundle a gate: it refuses what is no frontal chest X-ray, and finds similar images"
    parser = subcommands.add("gate", _gate, summary)
    common.add_model(parser)
    parser.add_argument("--dataset", type=Path, default="dataset", help="the prepared dataset it was trained on")
    common.add_collection(parser, "for its lateral images and CT slices")
    parser.add_argument(
        "--collections", type=Path, help="folder of collections: adults of other hospitals, and children"
    )
    parser.add_argument(
        "--hospitals",
        type=Path,
        nargs="+",
        default=(),
        help="folders of frontal chest X-rays from elsewhere, that should pass",
    )


def _gate(options: argparse.Namespace) -> int:
    from covid_core.report.tables import optional_tables

    with common.native_messages_hidden():
        from covid_core.training.gate_figures import pictures_by_kind, write_gate

    folder = common.bundle_folder(options.model)
    block = write_gate(
        folder,
        options.dataset,
        options.collection,
        hospitals={name: paths for place in options.hospitals for name, paths in pictures_by_kind(place).items()},
        elsewhere=options.collections,
        say=common.said_with_seconds(),
    )
    for table in optional_tables({"gate": block}):
        print(f"{table.note}\n\n{table.markdown()}")
    print(f"\nwritten: {folder / 'gate.npz'}, evaluation.json, MODEL_CARD.md")
    return 0


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    _add_inputs(parser)
    parser.add_argument("--backbone", choices=("mobilenetv2", "resnet50"), default="mobilenetv2", help="network")
    parser.add_argument("--epochs", type=common.whole(1), default=15, help="most epochs of the initial training")
    parser.add_argument("--finetune-epochs", type=common.whole(1), default=15, help="most epochs of the fine-tuning")
    parser.add_argument("--batch-size", type=common.whole(1), default=32, help="images a step")
    parser.add_argument("--size", type=common.whole(32, 1024), default=224, help="side of the input, pixels")


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


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    """What every training starts from."""
    _add_dataset(parser)
    parser.add_argument(
        "--weights", metavar="imagenet|none|FILE", default="imagenet", help="`imagenet` downloads through Keras"
    )
    common.add_seed(parser, "of weights, order and augmentation")
    parser.add_argument(
        "--threads", type=common.whole(1), default=2, help="part of the recipe: another number gives other weights"
    )


def _add_dataset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", type=Path, default="dataset", help="folder written by `prepare`")


def _add_run(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--run", dest="run_folder", type=Path, default="runs/mobilenetv2", help="the run's folder")


def _add_folds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folds", type=Path, default=models_dir() / "folds.csv", help="made if it is not there")


def _add_external(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--external", type=Path, nargs="+", default=(), help="folders with labels.csv and images/ to test the bundle on"
    )


def _add_stage(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stage", choices=("initial", "finetune"), help="default: the last finished one")


def _print_stage(entry: dict[str, float]) -> None:
    print(
        f"best epoch {entry['best_epoch']} of {entry['epochs']}: validation loss {entry['val_loss']:.3f}, "
        f"AUC {entry['val_auc']:.3f}; {entry['seconds']:.0f} s"
    )


def _print_evaluation(evaluation: dict[str, Any], written: str) -> None:
    from covid_core.evaluation.summary import summary_lines

    print(summary_lines(evaluation))
    print(f"\nwritten: {written}")
