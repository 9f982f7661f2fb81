"""The blocks of an evaluation that not every model has: the table of one, or what it is and the command that measures it."""

import shlex

from covid_core.evaluation.further import further_table
from covid_core.model_report.content import Command, Item, Table, Words
from covid_core.model_report.record import Record

# Beside the model and not in its place: what is built is another model.
_BUILD = "python -m covid_core build --out models/{name}-built"
_EVALUATE = "python -m covid_core evaluate --model {name} --dataset dataset --collection FOLDER_WITH_METADATA_CSV"
_MEASURED_BY: dict[str, tuple[str, str]] = {
    "baselines": ("What can be told without a pixel", _BUILD),
    "lungs": ("What is left of the answer without lungs, or with lungs alone,", _BUILD),
    "left_out_sources": ("How it does on a publisher that it has never seen", _BUILD),
    "seeds": ("How far the figures move with other folds", _BUILD),
    "original_protocol": ("The protocol of the original system", _BUILD),
    "three_way": ("A decision that may be left open", _BUILD),
    "ensemble": ("How firm the probability is", _BUILD),
    "external": (
        "How it does on films from elsewhere",
        "python -m covid_core evaluate --model {name} --external FOLDER_WITH_LABELS_CSV",
    ),
    "gate": ("What it refuses to read", "python -m covid_core gate --model {name}"),
    "subgroups": ("For whom it works", _EVALUATE),
    "cohort": ("Of whom the films are", _EVALUATE),
}


def measured(record: Record, block: str, name: str, *, folded: bool = False) -> tuple[Item, ...]:
    """The table of a block that was measured, else what `not_measured` says; nothing for one that need not be there.

    Args:
        record: of the model.
        block: one that `covid_core.evaluation.further` has a table for.
        name: of the table.
        folded: as of `Table`.
    """
    table = further_table(record.evaluation, block)
    if table is not None:
        return (Table(name, table.title, table.table, table.note, folded),)
    return not_measured(block, record.name) if block in _MEASURED_BY else ()


def not_measured(block: str, model: str) -> tuple[Item, ...]:
    """The sentence and the command for a block that an evaluation lacks.

    Args:
        block: one of `covid_core.evaluation.report.FURTHER_BLOCKS`.
        model: name of the model, for the command.
    """
    what, command = _MEASURED_BY[block]
    by_building = "; only a model that is built like this has it:" if command == _BUILD else ". This measures it:"
    return Words(f"{what} was not measured for this model{by_building}", "caution"), Command(
        command.format(name=shlex.quote(model))
    )
