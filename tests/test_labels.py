import pytest

from covid_core.labels import CLASS_INDICES, CLASSES, finding_components, is_no_finding, label_of_finding


def test_class_order_is_the_contract_of_the_design():
    assert CLASSES == ("non_covid", "covid")
    assert CLASS_INDICES == {"non_covid": 0, "covid": 1}


@pytest.mark.parametrize(
    "finding",
    [
        "Pneumonia/Viral/COVID-19",
        "COVID-19",
        "COVID-19, ARDS",
        "pneumonia/viral/covid-19",
        " Pneumonia / Viral / COVID-19 ",
    ],
)
def test_a_finding_with_the_component_covid_19_is_covid_in_both_vocabularies(finding):
    assert label_of_finding(finding) == "covid"


@pytest.mark.parametrize(
    "finding",
    [
        "No Finding",
        "Pneumonia",
        "Pneumonia/Viral/SARS",
        "Pneumonia/Viral/Herpes ",
        "Pneumonia/Bacterial/Streptococcus",
        "Streptococcus",
        "SARS",
        "ARDS",
        "Pneumocystis",
        "Tuberculosis",
        "COVID-190",
        "not COVID-19",
    ],
)
def test_every_other_finding_is_non_covid(finding):
    assert label_of_finding(finding) == "non_covid"


@pytest.mark.parametrize("finding", [None, "", "  ", "todo", "TODO", "Unknown", "unknown ", "/", ","])
def test_a_missing_finding_has_no_label_and_is_never_a_negative(finding):
    assert label_of_finding(finding) is None


def test_components_are_split_at_both_separators_and_stripped():
    assert finding_components("Pneumonia/Viral/Herpes ") == ("Pneumonia", "Viral", "Herpes")
    assert finding_components("COVID-19, ARDS") == ("COVID-19", "ARDS")
    assert finding_components(None) == ()


def test_no_finding_is_told_from_other_negatives():
    assert is_no_finding("No Finding")
    assert is_no_finding(" no finding ")
    assert not is_no_finding("Pneumonia")
    assert not is_no_finding(None)
