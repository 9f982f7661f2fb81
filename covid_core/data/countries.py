"""The country of a film, told from the free text of the column `location`.

Knows the names of countries, other names of theirs, and the places (states, provinces, large cities) that stand without a
country or name one by themselves; written by hand from general knowledge. It looks nothing up, and rather tells no country
than a wrong one.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Country:
    """A country, or a territory with a code of its own in ISO 3166-1 (Hong Kong, Taiwan, Puerto Rico).

    Attributes:
        code: two letters, ISO 3166-1 alpha-2.
        name: in English, short.
        latitude, longitude: of about its middle, whole degrees; north and east are above 0.
    """

    code: str
    name: str
    latitude: float
    longitude: float


# One entry: code, latitude, longitude, name.
_COUNTRIES = """
AD 42 2 Andorra; AE 24 54 United Arab Emirates; AF 33 65 Afghanistan; AG 17 -62 Antigua and Barbuda; AL 41 20 Albania;
AM 40 45 Armenia; AO -12 18 Angola; AR -34 -64 Argentina; AT 47 14 Austria; AU -25 134 Australia; AW 12 -70 Aruba;
AZ 40 48 Azerbaijan; BA 44 18 Bosnia and Herzegovina; BB 13 -60 Barbados; BD 24 90 Bangladesh; BE 51 4 Belgium;
BF 13 -2 Burkina Faso; BG 43 25 Bulgaria; BH 26 51 Bahrain; BI -3 30 Burundi; BJ 9 2 Benin; BN 5 115 Brunei;
BO -17 -65 Bolivia; BR -10 -55 Brazil; BS 24 -76 Bahamas; BT 27 90 Bhutan; BW -22 24 Botswana; BY 53 28 Belarus;
BZ 17 -89 Belize; CA 60 -96 Canada; CD -3 23 Democratic Republic of the Congo; CF 7 21 Central African Republic;
CG -1 15 Republic of the Congo; CH 47 8 Switzerland; CI 8 -5 Ivory Coast; CL -30 -71 Chile; CM 6 12 Cameroon;
CN 35 105 China; CO 4 -72 Colombia; CR 10 -84 Costa Rica; CU 22 -79 Cuba; CV 16 -24 Cape Verde; CY 35 33 Cyprus;
CZ 50 15 Czechia; DE 51 10 Germany; DJ 12 43 Djibouti; DK 56 10 Denmark; DM 15 -61 Dominica; DO 19 -71 Dominican Republic;
DZ 28 3 Algeria; EC -2 -78 Ecuador; EE 59 26 Estonia; EG 27 30 Egypt; ER 15 39 Eritrea; ES 40 -4 Spain;
ET 8 38 Ethiopia; FI 64 26 Finland; FJ -18 178 Fiji; FM 7 158 Micronesia; FR 46 2 France; GA -1 12 Gabon;
GB 54 -2 United Kingdom; GD 12 -62 Grenada; GE 42 44 Georgia; GH 8 -1 Ghana; GI 36 -5 Gibraltar; GL 72 -40 Greenland;
GM 13 -15 Gambia; GN 10 -11 Guinea; GQ 2 10 Equatorial Guinea; GR 39 22 Greece; GT 15 -90 Guatemala; GU 13 145 Guam;
GW 12 -15 Guinea-Bissau; GY 5 -59 Guyana; HK 22 114 Hong Kong; HN 15 -86 Honduras; HR 45 16 Croatia; HT 19 -72 Haiti;
HU 47 19 Hungary; ID -2 118 Indonesia; IE 53 -8 Ireland; IL 31 35 Israel; IN 22 79 India; IQ 33 44 Iraq;
IR 32 53 Iran; IS 65 -18 Iceland; IT 43 12 Italy; JM 18 -77 Jamaica; JO 31 36 Jordan; JP 36 138 Japan; KE 1 38 Kenya;
KG 41 75 Kyrgyzstan; KH 13 105 Cambodia; KI 1 173 Kiribati; KM -12 44 Comoros; KN 17 -63 Saint Kitts and Nevis;
KP 40 127 North Korea; KR 36 128 South Korea; KW 29 48 Kuwait; KZ 48 67 Kazakhstan; LA 18 104 Laos; LB 34 36 Lebanon;
LC 14 -61 Saint Lucia; LI 47 10 Liechtenstein; LK 7 81 Sri Lanka; LR 6 -9 Liberia; LS -29 28 Lesotho; LT 55 24 Lithuania;
LU 50 6 Luxembourg; LV 57 25 Latvia; LY 27 17 Libya; MA 32 -6 Morocco; MC 44 7 Monaco; MD 47 29 Moldova;
ME 43 19 Montenegro; MG -19 47 Madagascar; MH 9 168 Marshall Islands; MK 41 22 North Macedonia; ML 17 -4 Mali;
MM 21 96 Myanmar; MN 46 104 Mongolia; MO 22 114 Macao; MR 20 -10 Mauritania; MT 36 14 Malta; MU -20 58 Mauritius;
MV 3 73 Maldives; MW -13 34 Malawi; MX 23 -102 Mexico; MY 4 109 Malaysia; MZ -18 35 Mozambique; NA -22 17 Namibia;
NE 17 8 Niger; NG 9 8 Nigeria; NI 13 -85 Nicaragua; NL 52 5 Netherlands; NO 64 11 Norway; NP 28 84 Nepal; NR -1 167 Nauru;
NZ -41 174 New Zealand; OM 21 56 Oman; PA 9 -80 Panama; PE -9 -75 Peru; PG -6 145 Papua New Guinea; PH 12 123 Philippines;
PK 30 70 Pakistan; PL 52 19 Poland; PR 18 -66 Puerto Rico; PS 32 35 Palestine; PT 40 -8 Portugal; PW 7 134 Palau;
PY -23 -58 Paraguay; QA 25 51 Qatar; RO 46 25 Romania; RS 44 21 Serbia; RU 60 90 Russia; RW -2 30 Rwanda;
SA 24 45 Saudi Arabia; SB -9 160 Solomon Islands; SC -5 55 Seychelles; SD 16 30 Sudan; SE 62 15 Sweden; SG 1 104 Singapore;
SI 46 15 Slovenia; SK 49 20 Slovakia; SL 8 -12 Sierra Leone; SM 44 12 San Marino; SN 14 -14 Senegal; SO 6 46 Somalia;
SR 4 -56 Suriname; SS 7 30 South Sudan; ST 1 7 Sao Tome and Principe; SV 14 -89 El Salvador; SY 35 38 Syria;
SZ -26 31 Eswatini; TD 15 19 Chad; TG 8 1 Togo; TH 15 101 Thailand; TJ 39 71 Tajikistan; TL -9 126 Timor-Leste;
TM 39 60 Turkmenistan; TN 34 9 Tunisia; TO -20 -175 Tonga; TR 39 35 Turkey; TT 11 -61 Trinidad and Tobago;
TV -8 178 Tuvalu; TW 24 121 Taiwan; TZ -6 35 Tanzania; UA 49 32 Ukraine; UG 1 32 Uganda; US 39 -98 United States;
UY -33 -56 Uruguay; UZ 41 64 Uzbekistan; VA 42 12 Vatican City; VC 13 -61 Saint Vincent and the Grenadines;
VE 7 -66 Venezuela; VN 16 107 Vietnam; VU -16 167 Vanuatu; WS -14 -172 Samoa; XK 43 21 Kosovo; YE 15 48 Yemen;
ZA -30 25 South Africa; ZM -14 28 Zambia; ZW -19 30 Zimbabwe
"""
# Other names of countries, and parts that are as good as one; `CODE: name, name`.
_OTHER_NAMES = """
AE: UAE; BA: Bosnia; BN: Brunei Darussalam; CD: DR Congo, DRC; CI: Côte d'Ivoire; CN: People's Republic of China, PR China,
PRC, Mainland China; CV: Cabo Verde; CZ: Czech Republic; DE: Deutschland; ES: España; GB: UK, Great Britain, England, Scotland,
Wales, Northern Ireland, Britain; GE: Republic of Georgia; HK: Hong Kong SAR, Hongkong; IR: Islamic Republic of Iran;
IT: Italia; KR: Korea, Republic of Korea, Korea South; LA: Lao PDR; MK: Macedonia; MM: Burma; MO: Macau;
NL: The Netherlands, Holland; PS: Palestinian Territories, West Bank, Gaza; RU: Russian Federation; BR: Brasil;
SA: Kingdom of Saudi Arabia, KSA; SZ: Swaziland; TL: East Timor; TR: Türkiye; TW: Taiwan ROC; TZ: United Republic of Tanzania;
US: USA, US, United States of America; VA: Vatican; VN: Viet Nam; MX: México; PE: Perú; CH: Schweiz, Suisse; AT: Österreich
"""
# Places that tell a country. Left out on purpose: Georgia alone (a country or a state), and names that several countries share
# (Birmingham, Cambridge, Cordoba, Hyderabad, San Jose, Santiago, Tripoli, Valencia, Victoria).
_PLACES = """
US: Alabama, Alaska, Arizona, Arkansas, California, Colorado, Connecticut, Delaware, Florida, Hawaii, Idaho, Illinois, Indiana,
Iowa, Kansas, Kentucky, Louisiana, Maine, Maryland, Massachusetts, Michigan, Minnesota, Mississippi, Missouri, Montana,
Nebraska, Nevada, New Hampshire, New Jersey, New Mexico, New York, North Carolina, North Dakota, Ohio, Oklahoma, Oregon,
Pennsylvania, Rhode Island, South Carolina, South Dakota, Tennessee, Texas, Utah, Vermont, Virginia, Washington,
West Virginia, Wisconsin, Wyoming, Washington DC, New York City, Los Angeles, Chicago, Houston, Seattle, Boston, San Francisco,
Philadelphia, Atlanta, Miami, Detroit, Baltimore, Cleveland, New Orleans;
CA: Ontario, Quebec, British Columbia, Alberta, Manitoba, Saskatchewan, Nova Scotia, New Brunswick, Newfoundland,
Newfoundland and Labrador, Prince Edward Island, Toronto, Montreal, Vancouver, Calgary, Ottawa, Edmonton, Winnipeg;
CN: Beijing, Shanghai, Wuhan, Guangzhou, Shenzhen, Chengdu, Chongqing, Hangzhou, Nanjing, Wenzhou, Tianjin, Xi'an, Changsha,
Hefei, Lanzhou, Nanchang, Zhengzhou, Hubei, Hubei Province, Guangdong, Guangdong Province, Zhejiang, Zhejiang Province,
Sichuan, Sichuan Province, Hunan, Hunan Province, Henan, Henan Province, Anhui, Anhui Province, Jiangsu, Jiangsu Province;
HK: Kowloon, Chinese University of Hong Kong; TW: Taipei, Taichung, Kaohsiung, Taoyuan, Tainan;
IT: Milan, Milano, Rome, Roma, Turin, Torino, Brescia, Bergamo, Padova, Padua, Bologna, Florence, Firenze, Naples, Napoli,
Genoa, Genova, Venice, Verona, Modena, Parma, Lombardy, Lombardia, Veneto, Piedmont, Sicily, Palermo, Trieste, Bozen, Rozzano;
ES: Madrid, Barcelona, Seville, Sevilla, Bilbao, Zaragoza, Malaga, Pamplona, Teruel, Valladolid, Catalonia, Andalusia;
FR: Paris, Lyon, Marseille, Toulouse, Strasbourg, Lille, Bordeaux, Nantes, Montpellier; PT: Lisbon, Lisboa, Porto, Coimbra;
DE: Berlin, Munich, München, Hamburg, Hannover, Hanover, Frankfurt, Cologne, Köln, Essen, Heidelberg, Bavaria, Stuttgart;
AT: Vienna, Wien, Graz, Innsbruck, Salzburg; CH: Zurich, Zürich, Geneva, Basel, Bern, Lausanne;
BE: Brussels, Antwerp, Ghent, Leuven; NL: Amsterdam, Rotterdam, Utrecht, Leiden, The Hague; DK: Copenhagen, Aarhus;
GB: London, Edinburgh, Glasgow, Nottingham, Leeds, Liverpool, Oxford, Cardiff, Belfast, North Derbyshire;
SE: Stockholm, Gothenburg, Uppsala, Malmö; NO: Oslo, Bergen; FI: Helsinki; IE: Dublin; PL: Warsaw, Krakow; CZ: Prague;
HU: Budapest; RO: Bucharest; BG: Sofia; RS: Belgrade; HR: Zagreb; GR: Athens, Thessaloniki; TR: Istanbul, Ankara, Izmir;
UA: Kyiv, Kiev; RU: Moscow, Saint Petersburg, St Petersburg; IL: Jerusalem, Tel Aviv, Haifa; LB: Beirut; JO: Amman;
IR: Tehran, Tabriz, Shiraz, Isfahan, Mashhad; IQ: Baghdad; SA: Riyadh, Jeddah; QA: Doha; AE: Dubai, Abu Dhabi;
PK: Karachi, Lahore, Islamabad, Peshawar; IN: Mumbai, New Delhi, Delhi, Kolkata, Chennai, Bangalore, Bengaluru, Kerala;
BD: Dhaka; NP: Kathmandu; LK: Colombo; AF: Kabul; JP: Tokyo, Osaka, Kyoto, Nagoya, Yokohama, Sapporo, Fukuoka;
KR: Seoul, Busan, Daegu, Incheon, Goyang; VN: Hanoi, Ho Chi Minh City; TH: Bangkok; PH: Manila; ID: Jakarta; MY: Kuala Lumpur;
AU: Sydney, Melbourne, Brisbane, Adelaide, Canberra, New South Wales, Queensland, Tasmania, South Australia,
Western Australia; NZ: Auckland, Wellington, Christchurch; EG: Cairo, Alexandria; MA: Casablanca, Rabat; TN: Tunis; DZ: Algiers;
NG: Lagos, Abuja; KE: Nairobi; ET: Addis Ababa; ZA: Johannesburg, Cape Town, Pretoria, Durban; BR: São Paulo, Rio de Janeiro,
Brasilia; AR: Buenos Aires; CL: Santiago de Chile; CO: Bogota, Medellin, Cali; PE: Lima; MX: Mexico City, Guadalajara;
EC: Quito, Guayaquil; CU: Havana; VE: Caracas; UY: Montevideo; GE: Tbilisi
"""
_TERRITORIES = {"HK": "CN", "MO": "CN", "TW": "CN", "PR": "US", "GU": "US", "GL": "DK", "AW": "NL", "GI": "GB"}
"""Territories that a location may name together with this country; the territory tells more."""
_AMBIGUOUS = "georgia"
"""A name of a country that is a state of another one as well: it tells nothing alone."""
_STATES = {
    "US": "AL AK AZ AR CA CO CT DE DC FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR PA "
    "RI SC SD TN TX UT VT VA WA WV WI WY",
    "CA": "AB BC MB NB NL NS ON PE QC SK",
}
"""Country -> postal codes of its states, many of which are codes of other countries as well: `DE`, `CA`, `PE`."""
_DIVIDERS = re.compile(r"[,;/|()]|\.\s+")
_NAME_GOES_ON = frozenset({"of", "de", "the", "new", "little", "y"})
"""Words before a name that make it a part of another: `Prince of Wales`, `New England`."""
_LONGEST_LOCATION = 1000


def _listed(text: str) -> dict[str, str]:
    """The code of each name in a text of `CODE: name, name; CODE: name`."""
    codes: dict[str, str] = {}
    for entry in text.split(";"):
        code, _, names = entry.partition(":")
        codes |= {_plain(name): code.strip() for name in names.split(",")}
    return codes


def _plain(name: str) -> str:
    """Lower case letters and digits without accents, divided by single blanks; dots and apostrophes vanish."""
    bare = "".join(one for one in unicodedata.normalize("NFKD", name) if not unicodedata.combining(one))
    return " ".join(re.sub(r"[^\w\s]|_", " ", re.sub("[.'\u2019]", "", bare).casefold()).split())


def _country(entry: str) -> Country:
    code, latitude, longitude, name = entry.split(maxsplit=3)
    return Country(code, name, float(latitude), float(longitude))


COUNTRIES: dict[str, Country] = {one.code: one for one in map(_country, _COUNTRIES.split(";"))}
"""Every country by its code."""
_NAMES = {_plain(one.name): one.code for one in COUNTRIES.values()} | _listed(_OTHER_NAMES)
_PLACES_BY_NAME = _listed(_PLACES)
_EITHER: dict[str, frozenset[str]] = {_AMBIGUOUS: frozenset({"GE", "US"})} | {
    state.lower(): frozenset({code, state} & COUNTRIES.keys())
    for code, states in _STATES.items()
    for state in states.split()
}
"""What may end a location and leaves open which of some countries it is in: `Athens, Georgia`, `Vienna, VA`."""


def country_of(location: str) -> str | None:
    """Tell the country that a location lies in.

    A location goes from the particular to the general: `Humanitas Clinical and Research Hospital, Rozzano, Milan, Italy`. A
    country that is named decides, unless a place of another one stands after it (`Peru, Indiana`); where none is, the last
    place that is known does, unless what follows it says otherwise (`Athens, Georgia`). A territory beside its country
    (`Macao, China`) is the territory.

    Args:
        location: a value of the column `location`.

    Returns:
        The code, a key of `COUNTRIES`; None where no country can be told, or two are named (`Brunei, New Zealand`).
    """
    parts = [part for one in _DIVIDERS.split(location[:_LONGEST_LOCATION]) if (part := _plain(one))]
    named = [_told(part, _named) for part in parts]
    places = [_told(part, _PLACES_BY_NAME.get) for part in parts]
    within = _EITHER.get(parts[-1], frozenset()) if len(parts) > 1 else frozenset()
    if any(named):
        code = _of_named(named, places)
        return code if not within or code in within else None
    place = next((code for code in reversed(places) if code), None)
    return place if not within or place in within else None


def _of_named(named: Sequence[str | None], places: Sequence[str | None]) -> str | None:
    """The country of a location some parts of which name one: none for two countries, or one that a later place is not in.

    Args:
        named: for each part the country that it names.
        places: for each part the country that it is a place of.
    """
    codes = {code for code in named if code}
    codes -= {_TERRITORIES[code] for code in codes if code in _TERRITORIES}
    if len(codes) > 1:
        return None
    (code,) = codes
    last = max(number for number, one in enumerate(named) if one)
    if any(one not in (None, code) and _TERRITORIES.get(one or "") != code for one in places[last:]):
        return None
    return next((one for one in places if one and _TERRITORIES.get(one) == code), code)


def country_name(code: str) -> str:
    """The name of a country; the code itself where it is not known."""
    return COUNTRIES[code].name if code in COUNTRIES else code


def _named(name: str) -> str | None:
    """The country of a name that stands for it alone; a name that is also a place elsewhere stands for none."""
    return None if name == _AMBIGUOUS or name in _PLACES_BY_NAME else _NAMES.get(name)


def _told(part: str, lookup: Callable[[str], str | None]) -> str | None:
    """The country of a part of a location, or of the longest run of words at its end that is a name (`Wuhan China`)."""
    words = part.split()
    for start in range(len(words)):
        name = " ".join(words[start:])
        if name in _PLACES_BY_NAME or name in _NAMES:
            cut_off = start > 0 and words[start - 1] in _NAME_GOES_ON
            return None if cut_off else lookup(name)
    return None
