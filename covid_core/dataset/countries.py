"""The country of an image, from the free text of the column `location`.

`countries.csv` names countries and territories (ISO 3166-1), about their middle in whole degrees, other names, and places that
stand without a country. Left out on purpose: names that several countries share (Birmingham, Cordoba, Hyderabad, Valencia).
"""

import csv
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Country(NamedTuple):
    """A code of two letters, an English name, and degrees north and east."""

    code: str
    name: str
    latitude: float
    longitude: float


_DIVIDERS = re.compile(r"[,;/|()]|\.\s+")
_NAME_GOES_ON = frozenset({"of", "de", "the", "new", "little", "y"})  # `Prince of Wales`, `New England`
_LONGEST_LOCATION = 1000


def _plain(name: str) -> str:
    """Lower case letters and digits without accents, divided by single blanks; dots and apostrophes vanish."""
    bare = "".join(one for one in unicodedata.normalize("NFKD", name) if not unicodedata.combining(one))
    return " ".join(re.sub(r"[^\w\s]|_", " ", re.sub("[.'\u2019]", "", bare).casefold()).split())


with Path(__file__).with_suffix(".csv").open(encoding="utf-8", newline="") as _file:
    _ROWS = list(csv.DictReader(_file))


def _codes(column: str) -> dict[str, str]:
    return {_plain(name): row["code"] for row in _ROWS for name in row[column].split(";") if name}


COUNTRIES = {
    row["code"]: Country(row["code"], row["name"], float(row["latitude"]), float(row["longitude"])) for row in _ROWS
}
_TERRITORIES = {row["code"]: row["part_of"] for row in _ROWS if row["part_of"]}
_PLACES = _codes("places")
_NAMES = {name: code for name, code in (_codes("name") | _codes("other_names")).items() if name not in _PLACES}
_EITHER = {state: {code, state.upper()} & COUNTRIES.keys() for state, code in _codes("state_codes").items()}
"""What may end a location and leaves open which of some countries it is in: `Athens, Georgia`, `Vienna, VA`."""
_NAMES["georgia"], _EITHER["georgia"] = "", {"GE", "US"}


def country_of(location: str) -> str | None:
    """The country of a location, which goes from the particular to the general: `Rozzano, Milan, Italy`.

    A country that is named decides, unless a place of another one stands after it (`Peru, Indiana`); where none is, the last
    known place does, unless what follows says otherwise (`Athens, Georgia`). A territory beside its country (`Macao, China`)
    is the territory. None where there is no country, or two are named (`Brunei, New Zealand`).
    """
    parts = [part for one in _DIVIDERS.split(location[:_LONGEST_LOCATION]) if (part := _plain(one))]
    named, places = ([_found(part, codes) for part in parts] for codes in (_NAMES, _PLACES))
    code = _of_named(named, places) if any(named) else next(filter(None, reversed(places)), None)
    within = _EITHER.get(parts[-1]) if len(parts) > 1 else None
    return code if not within or code in within else None


def country_name(code: str) -> str:
    """The name of a country; the code itself where it is not known."""
    return COUNTRIES[code].name if code in COUNTRIES else code


def _of_named(named: Sequence[str | None], places: Sequence[str | None]) -> str | None:
    codes = set(filter(None, named))
    codes -= {_TERRITORIES.get(code) for code in codes}
    if len(codes) != 1:
        return None
    (code,) = codes
    last = max(number for number, one in enumerate(named) if one)
    if any(one not in (None, code) and _TERRITORIES.get(one or "") != code for one in places[last:]):
        return None
    return next((one for one in places if one and _TERRITORIES.get(one) == code), code)


def _found(part: str, codes: Mapping[str, str]) -> str | None:
    """The code of a part of a location, or of the longest run of words at its end that is a name (`Wuhan China`)."""
    words = part.split()
    for start in range(len(words)):
        name = " ".join(words[start:])
        if name in _PLACES or name in _NAMES:
            cut_off = start > 0 and words[start - 1] in _NAME_GOES_ON
            return None if cut_off else codes.get(name) or None
    return None
