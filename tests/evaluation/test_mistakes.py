import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from covid_core.errors import EvaluationError
from covid_core.evaluation.mistakes import FALSE_ALARM, KINDS, MISSED, chosen, groups_of, mistakes
from covid_core.evaluation.subgroups import subgroup_block
from tests.evaluation.made_up import described_predictions, predictions


def test_wrong_calls_come_with_their_kind_the_most_confident_first() -> None:
    table = predictions([1, 1, 1, 0, 0], [0.9, 0.1, 0.6, 0.85, 0.79], sex="F")
    found = mistakes(table, part="test", threshold=0.8)

    # by hand, from 0.8: (0.8 - 0.1) / 0.8, (0.8 - 0.6) / 0.8, (0.85 - 0.8) / 0.2
    assert found["filename"].tolist() == ["1.png", "2.png", "3.png"]
    assert found["kind"].tolist() == [MISSED, MISSED, FALSE_ALARM]
    assert found["confidence"].tolist() == pytest.approx([0.875, 0.25, 0.25])
    assert list(found.columns) == [*table.columns, "kind", "confidence", "subgroup: Sex"]


def test_as_many_mistakes_as_scikit_learn_counts() -> None:
    table = described_predictions()
    found = mistakes(table, part="test", threshold=0.4)
    (_, alarms), (missed, _) = confusion_matrix(table["label"] == "covid", table["probability_covid"] >= 0.4)
    assert [len(chosen(found, kind)) for kind in KINDS] == [missed, alarms]
    assert found["confidence"].is_monotonic_decreasing


def test_the_mistakes_of_a_group_are_those_its_figures_count() -> None:
    table = described_predictions()
    found = mistakes(table, part="test", threshold=0.5)
    block = subgroup_block(table, part="test", threshold=0.5, prevalence=None, n_resamples=10, seed=0)
    for row in block:
        missed = len(chosen(found, MISSED, row["group"], row["name"]))
        alarms = len(chosen(found, FALSE_ALARM, row["group"], row["name"]))
        if row["covid"]:
            assert missed == round((1 - row["sensitivity"]["value"]) * row["covid"])
        assert alarms == (round((1 - row["specificity"]["value"]) * row["non_covid"]) if row["non_covid"] else 0)


def test_a_source_is_small_by_its_images_not_by_its_mistakes() -> None:
    table = described_predictions()
    found = mistakes(table, part="test", threshold=0.5)
    found = found[found["source"] == "b.org"].head(2)
    assert found["subgroup: Source"].tolist() == ["b.org", "b.org"]
    assert len(chosen(found, group="Source", name="b.org")) == 2


def test_what_can_be_chosen_is_listed_in_order() -> None:
    found = mistakes(described_predictions(), part="test", threshold=0.5)
    groups = groups_of(found)
    assert list(groups) == ["Sex", "Age", "View", "Source", "RT-PCR", "Severity"]
    assert groups["Sex"] == ["female", "male", "not given"]
    assert all(len(chosen(found, group=group, name=name)) for group, names in groups.items() for name in names)


def test_no_mistake_gives_an_empty_table_that_can_still_be_asked() -> None:
    found = mistakes(predictions([1, 0], [0.9, 0.1], sex=["F", None]), part="test", threshold=0.5)
    assert found.empty
    assert "confidence" in found.columns
    assert chosen(found, MISSED, "Sex", "female").empty
    assert groups_of(found) == {}


def test_wrong_questions_are_refused() -> None:
    table = predictions([1, 0], [0.9, 0.9])
    with pytest.raises(EvaluationError, match="threshold must be in"):
        mistakes(table, part="test", threshold=float(np.nan))
    with pytest.raises(EvaluationError, match="no image of part"):
        mistakes(table, part="val", threshold=0.5)
