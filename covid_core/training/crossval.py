"""Patient-grouped cross-validation of a recipe: an out-of-fold prediction for every image of the cohort.

    python -m covid_core crossval --dataset dataset --weights FILE --out runs/crossval

Each fold is a run of its own, `runs/crossval/fold-K/`, trained, calibrated on its validation images and evaluated on the
fold it never saw, by the same code as a single run. It goes on where it was interrupted.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from covid_core.dataset.folds import lay_out_fold, make_folds, read_folds, write_folds
from covid_core.errors import TrainingError
from covid_core.evaluation.evaluate import evaluate
from covid_core.evaluation.shortcuts import pixel_free_baselines
from covid_core.evaluation.summary import OUT_OF_FOLD
from covid_core.labels import PREVALENCE, THRESHOLD
from covid_core.training import stages
from covid_core.training.recipe import Recipe, Stage
from covid_core.training.run import open_run
from covid_core.training.workflows import evaluate_run, write_figures

Progress = Callable[[int, int], None]


def cross_validate(
    dataset: Path,
    out: Path,
    recipe: Recipe,
    *,
    folds_file: Path,
    last_stage: Stage = "finetune",
    weights_file: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train and evaluate a recipe once for each fold; writes `evaluation.json` and `predictions.csv` into `out`.

    Args:
        dataset: a prepared dataset.
        out: folder of the folds' runs.
        recipe: what is validated.
        folds_file: the folds; made, with seed 0, if it is not there yet.
        last_stage: the stage whose model is judged.
        weights_file: as of `stages.train`.
        progress: called with (folds done, folds).

    Returns:
        The content of `evaluation.json`, of the out-of-fold predictions, with `baselines`.

    Raises:
        DatasetError: the dataset is not prepared, or the folds do not fit it.
        TrainingError: `out` holds a cross-validation of another recipe.
    """
    if not folds_file.exists():
        write_folds(make_folds(dataset), folds_file)
    folds = read_folds(folds_file, dataset)
    names = sorted(folds["fold"].unique())
    tables = []
    for done, fold in enumerate(names):
        folder = out / f"fold-{fold}"
        if not (folder / "dataset" / "split.csv").exists():
            lay_out_fold(dataset, folds, int(fold), folder / "dataset")
        table = _one_fold(folder, recipe, last_stage, weights_file)
        if set(table["filename"]) != set(folds.loc[folds["fold"] == fold, "filename"]):
            raise TrainingError(f"{folder} was trained with other folds. Choose another --out.")
        tables.append(table.assign(part=OUT_OF_FOLD, fold=fold))
        if progress:
            progress(done + 1, len(names))
    predictions = pd.concat(tables, ignore_index=True)
    name = f"{recipe.backbone} ({last_stage}), {len(names)} folds"
    evaluation = evaluate(predictions, model=name, threshold=THRESHOLD, part=OUT_OF_FOLD, prevalence=PREVALENCE)
    write_figures(out, evaluation, predictions)  # hours of training, kept whatever becomes of the extras
    evaluation["baselines"] = pixel_free_baselines(dataset, folds)
    write_figures(out, evaluation, predictions)
    return evaluation


def _one_fold(folder: Path, recipe: Recipe, last_stage: Stage, weights_file: Path | None) -> pd.DataFrame:
    """Bring the run of one fold to its end and give its predictions on the images that were held out."""
    run_folder = folder / "run"
    finished: set[str] = set()
    if (run_folder / "run.json").exists():
        run = open_run(run_folder)
        if run.recipe != recipe:
            raise TrainingError(
                f"{run_folder} was started with another recipe. Repeat its settings, or choose another --out."
            )
        finished = set(run.record["stages"])
    if "initial" not in finished:
        stages.train(folder / "dataset", run_folder, recipe, weights_file=weights_file)
    if last_stage == "finetune" and "finetune" not in finished:
        stages.finetune(run_folder)
    predictions = evaluate_run(run_folder, last_stage).predictions
    return predictions[predictions["part"] == "test"]
