"""The two classes, their order, and how a finding of the table becomes one of them.

The sigmoid output of every model is P(covid), the probability of the class at index 1. The order is saved with each
model as `class_indices.json` and checked when the model is loaded.
"""

import re
from typing import Literal

Label = Literal["non_covid", "covid"]

NON_COVID: Label = "non_covid"
COVID: Label = "covid"
CLASSES: tuple[Label, Label] = (NON_COVID, COVID)
CLASS_INDICES: dict[str, int] = {name: index for index, name in enumerate(CLASSES)}

CLASS_TITLES: dict[str, str] = {NON_COVID: "Not COVID-19", COVID: "COVID-19"}
"""The classes as people read them."""

MISSING_FINDINGS = frozenset({"todo", "unknown"})
"""Findings, in lower case, that say that there is none yet."""
NO_FINDING = "no finding"
_COVID_COMPONENT = "covid-19"
PREVALENCE = 0.5
"""The share of covid images that every probability assumes."""
THRESHOLD = 0.5
"""Of a calibrated probability, where a model has no operating point of its own."""


def finding_components(finding: str | None) -> tuple[str, ...]:
    """Split a finding (None for a missing one) into its components, in their order.

    The table had two vocabularies: until mid-2020 a flat list (`COVID-19, ARDS`), then a path
    (`Pneumonia/Viral/COVID-19`). Both are read; blanks around a component are dropped.
    """
    return tuple(part.strip() for part in re.split(r"[/,]", finding or "") if part.strip())


def label_of_finding(finding: str | None) -> Label | None:
    """The class of a finding in either vocabulary.

    `covid` when one component is COVID-19, None when the finding is missing (blank, `todo`, `Unknown`: a missing label is never
    a negative), else `non_covid`.
    """
    components = tuple(part.lower() for part in finding_components(finding))
    if _COVID_COMPONENT in components:
        return COVID
    if all(part in MISSING_FINDINGS for part in components):
        return None
    return NON_COVID


def is_no_finding(finding: str | None) -> bool:
    """Whether the reader of the image saw nothing abnormal (`No Finding`): a label of the image, not the patient."""
    return tuple(part.lower() for part in finding_components(finding)) == (NO_FINDING,)
