"""The search for the two linear questions behind the chest-trained networks: every trial, measured alike.

python -m covid_core pretrain --collections COLLECTIONS --dataset dataset --weights FILE --out runs/chest
python benchmarks/trials.py --run runs/chest --dataset dataset --weights FILE --annotations DIR

A trial changes the recipe of the heads alone, so the networks run once. Each is judged on the dataset (out of fold, AUC of pairs
within a fold, and within a fold and a source) and on hospital groups that networks and heads never saw (AUC of pairs within a
group). Nothing is measured on external images. Writes docs/experiments/heads.json, from which docs/EXPERIMENTS.md gets its table.
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from covid_core.training import runtime  # noqa: E402  (it sets what TensorFlow reads from the environment: first)

# isort: split
import numpy as np  # noqa: E402

from covid_core.evaluation import metrics  # noqa: E402
from covid_core.evaluation.hospitals import TYPICAL  # noqa: E402
from covid_core.files import write_json  # noqa: E402
from covid_core.paths import models_dir  # noqa: E402
from covid_core.training import build, out_of_fold  # noqa: E402
from covid_core.training.chest_heads import fit_heads  # noqa: E402
from covid_core.training.chest_recipe import COHORT, NETWORKS, ChestRecipe  # noqa: E402
from covid_core.training.pretraining import load_network, open_run  # noqa: E402
from covid_core.training.recipe import named_weights  # noqa: E402

RESULT = PROJECT / "docs" / "experiments" / "heads.json"


def _weights(value: float) -> dict[str, float]:
    return {"cohort": 1.0, "siim": value, "nih": value, "pakistan": value}


TRIALS: dict[str, dict[str, Any]] = {
    "kept": {},
    **{f"prior logit {value:g}": {"prior_logit": value} for value in (0.0, 1.0, 3.0, 6.0)},
    **{f"second question, C = {value:g}": {"covid_cost": value} for value in (0.001, 0.01)},
    **{f"first question, C = {value:g}": {"pattern_cost": value} for value in (0.0001, 0.001)},
    **{
        f"second question, collections weigh {value:g}": {"covid_weight": _weights(value)} for value in (0.05, 0.1, 0.4)
    },
    "second question, dataset alone": {"covid_weight": {"cohort": 1.0}},
    "second question, Hannover at 0.1 as well": {"covid_weight": {**_weights(0.2), "hannover": 0.1}},
    "second question, children at 0.05 as well": {"covid_weight": {**_weights(0.2), "guangzhou": 0.05}},
}


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=PROJECT / "runs" / "chest", help="folder of `pretrain`")
    parser.add_argument("--dataset", type=Path, default=PROJECT / "dataset", help="folder written by `prepare`")
    parser.add_argument("--weights", default="imagenet", help="the backbone's, as given to `pretrain`")
    parser.add_argument("--annotations", type=Path, required=True, help="folder with the lung masks")
    options = parser.parse_args()
    _, _, weights = named_weights(options.weights)
    run = open_run(options.run)
    runtime.configure(run.recipe.seed, run.recipe.threads)
    materials = build.Materials(options.run, options.dataset, options.annotations, models_dir() / "folds.csv", weights)
    table, masks = build.read_dataset(materials, run)
    seen = {}
    for one in NETWORKS:
        print(f"network {one.name}", flush=True)
        network = load_network(run, one, weights)
        lungs, _ = build.fit_lung_map(run, network, masks)
        seen[one.name] = (
            out_of_fold.build_cohort(table, run, network, masks, lungs)
            if one is NETWORKS[0]
            else out_of_fold.see_all(run, network, lungs)
        )
    started = time.monotonic()
    found = [{"name": name, **_measured(run, seen, replace(run.recipe, **change))} for name, change in TRIALS.items()]
    write_json(RESULT, {"seconds": round(time.monotonic() - started), "trials": found})
    print(RESULT.read_text())


def _measured(run: Any, seen: dict[str, Any], recipe: ChestRecipe) -> dict[str, float | None]:
    cohort = replace(seen[NETWORKS[0].name], run=replace(run, recipe=recipe))
    raw, _ = out_of_fold.out_of_fold(cohort, cohort.folds)
    folds = cohort.folds.astype(np.str_)
    sources = cohort.table["source"].fillna("").to_numpy(np.str_)
    strata = np.where(sources == "", "", np.char.add(np.char.add(folds, " "), sources))
    once = np.ones((1, len(raw)))
    answers, truths, sites = [], [], []
    images = run.images
    for one in NETWORKS[1:]:
        rows = run.seen_by(one) | (images["source"] == COHORT).to_numpy()
        heads = fit_heads(seen[one.name].pooled, images, rows, recipe)
        held = out_of_fold.comparable(images[images["site"].isin(one.sites)])
        answers.append(heads.answer(seen[one.name].pooled[held.index.to_numpy()]))
        truths.append((held["appearance"] == TYPICAL).to_numpy())
        sites.append(held["site"].to_numpy(np.str_))
    answer, truth, site = (np.concatenate(parts) for parts in (answers, truths, sites))
    within = metrics.weighted_within_source_auc
    return {
        "within_fold": metrics.defined(within(cohort.labels, raw, folds, once)[0]),
        "within_source": metrics.defined(within(cohort.labels, raw, strata, once)[0]),
        "hospital_left_out": metrics.defined(within(truth, answer, site, np.ones((1, len(truth))))[0]),
        "worst_hospital": min(
            float(metrics.roc_auc(truth[site == one], answer[site == one]) or 0) for one in np.unique(site)
        ),
    }


if __name__ == "__main__":
    main()
