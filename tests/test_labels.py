import pytest

from covid_core.labels import CLASS_INDICES, CLASSES, finding_components, is_no_finding, label_of_finding


def test_class_order_is_the_contract_of_the_design():
    assert CLASSES == ("non_covid", "covid")
    assert CLASS_INDICES == {"non_covid": 0, "covid": 1}


@pytest.mark.parametrize(
    ("label", "findings"),
    [
        ("covid", ["Pneumonia/Viral/COVID-19", "COVID-19", "COVID-19, ARDS", " Pneumonia / viral / covid-19 "]),
        ("non_covid", ["No Finding", "Pneumonia", "Pneumonia/Viral/SARS", "ARDS", "COVID-190", "not COVID-19"]),
        (None, [None, "", "  ", "todo", "TODO", "Unknown", "unknown ", "/", ","]),  # never a negative
    ],
)
def test_a_finding_is_covid_with_that_component_and_has_no_label_where_it_is_missing(label, findings):
    assert {finding: label_of_finding(finding) for finding in findings} == dict.fromkeys(findings, label)


def test_components_are_split_at_both_separators_and_no_finding_is_told_from_other_negatives():
    assert finding_components("Pneumonia/Viral/Herpes ") == ("Pneumonia", "Viral", "Herpes")
    assert finding_components("COVID-19, ARDS") == ("COVID-19", "ARDS")
    assert finding_components(None) == ()
    found = [is_no_finding(finding) for finding in ("No Finding", " no finding ", "Pneumonia", None)]
    assert found == [True, True, False, False]
