"""The original's tables against all confusion matrices that its test images allow, and our figures beside others'."""

from fractions import Fraction
from itertools import product
from typing import Any

import pytest

from covid_core.evaluation.evaluate import evaluate
from covid_core.evaluation.published import original_figures, original_table, published, published_table
from tests.evaluation.made_up import predictions

COVID_IMAGES, OTHER_IMAGES = 35, 19


def printed(when: str) -> dict[str, list[float]]:
    """Precision, recall and F1 of each class, as printed."""
    rows = original_table().set_index("Row as printed")
    return {
        name: [float(rows.loc[f"{name}, {when}", column]) for column in ("Precision", "Recall", "F1")]
        for name in ("covid", "non_covid")
    }


def reads(share: Fraction, figure: float) -> bool:
    """Whether two digits of an exact share, a half rounded up or to even, are the printed ones."""
    up = (share * 100 + Fraction(1, 2)).__floor__()
    return round(figure * 100) in (up, round(share * 100))


def matrices(table: dict[str, list[float]]) -> list[tuple[int, int]]:
    """(TN, TP) of every confusion matrix of the original's images that gives all six figures."""
    found = []
    for tn, tp in product(range(1, OTHER_IMAGES + 1), range(1, COVID_IMAGES + 1)):
        fp, fn = OTHER_IMAGES - tn, COVID_IMAGES - tp
        exact = {
            "covid": (Fraction(tp, tp + fp), Fraction(tp, tp + fn), Fraction(2 * tp, 2 * tp + fp + fn)),
            "non_covid": (Fraction(tn, tn + fn), Fraction(tn, tn + fp), Fraction(2 * tn, 2 * tn + fp + fn)),
        }
        if all(reads(share, figure) for name in exact for share, figure in zip(exact[name], table[name], strict=True)):
            found.append((tn, tp))
    return found


@pytest.mark.parametrize(("when", "only"), [("before fine-tuning", (18, 18)), ("after fine-tuning", (17, 18))])
def test_the_originals_tables_fit_its_images_only_with_the_class_names_exchanged(
    when: str, only: tuple[int, int]
) -> None:
    table = printed(when)
    assert matrices(table) == []
    assert matrices({"covid": table["non_covid"], "non_covid": table["covid"]}) == [only]
    tn, tp = only
    meaning = original_table().set_index("Row as printed")["What it means"]
    assert f"{tn / 19:.2f} ({tn} of 19 images)" in meaning[f"covid, {when}"]
    assert f"{tp / 35:.2f} ({tp} of 35 images)" in meaning[f"non_covid, {when}"]


def test_the_originals_figures_are_those_of_the_table_after_fine_tuning() -> None:
    expected = {"sensitivity": 18 / 35, "specificity": 17 / 19, "balanced_accuracy": (18 / 35 + 17 / 19) / 2}
    assert original_figures() == pytest.approx(expected)
    assert published()["original"]["found"] == "18 of 35 covid images and 17 of 19 others"


def evaluation_of(covid: list[float], non_covid: list[float]) -> dict[str, Any]:
    """Images of one source, each of its own patient, called covid at 0.5."""
    labels = [True] * len(covid) + [False] * len(non_covid)
    table = predictions(labels, covid + non_covid, source="a.org")
    return evaluate(table, model="net", threshold=0.5, n_resamples=200)


def test_our_figures_stand_first_with_their_intervals() -> None:
    table = published_table(evaluation_of(covid=[0.8] * 7 + [0.2] * 3, non_covid=[0.1] * 16 + [0.9] * 4))
    assert all(isinstance(cell, str) and cell for cell in table.to_numpy().ravel())
    ours = table.iloc[0]
    assert ours["Model"] == "net (this model)"
    assert ours["Tested on"] == "30 test images of 30 patients"
    assert ours["Figure"].startswith("sensitivity 0.70 (95% CI 0.")
    # Of 7 * 20 pairs with a covid score of 0.8, 16 of 20 are won; of 3 * 20 with 0.2, 16 of 20: 160 of 200 in all.
    assert "ROC AUC within a source 0.80 (95% CI" in ours["Figure"]


def test_images_of_one_class_leave_the_figure_undefined() -> None:
    figure = published_table(evaluation_of(covid=[0.8, 0.7, 0.2], non_covid=[])).loc[0, "Figure"]
    assert "specificity undefined" in figure
    assert "nan" not in figure.lower()
