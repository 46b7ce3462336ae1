"""Provides the invented names of the sandbox's people, schools and towns.

Given names are everyday names from many languages. Family names combine a word that means "made up" with an ending, so
that nobody can mistake a synthetic student for a real child.
"""

import unicodedata
from random import Random
from typing import Literal


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


GIVEN = _words(
    """
    Abel Abena Adaeze Ahmad Aiko Ailani Alba Alejandra Alma Amara Amina Amir Anders Anika Anthony
    Anya Arjun Asha Astrid Ayelet Aylin Beatriz Benjamin Bilal Bó Brigid Caleb Camila Carmen Cheveyo
    Chidi Chloe Dae-Jung Dalia Daniel Davi Deepa Diego Dmitri Ebele Eilidh Elena Eleni Elias Emeka
    Emma Esi Esteban Ethan Fatima Felix Finn Freya Gabriela Gideon Grace Hana Hassan Hiroshi Hoa
    Ibrahim Imani Inés Isaac Isla Ivan Jada Jamal James Jin Joaquín José Josephine Julia Kaimana
    Kateri Keanu Kofi Kwame Laila Leilani Leo Liam Linh Lucía Luka Maeve Magnus Mahina Malik Maria
    Marisol Mateo Maya Mei Miguel Milan Minh Mira Mohammed Nadia Naomi Nayeli Nikolai Nina Noah
    Nokomis Noor Oksana Olivia Omar Oscar Paloma Priya Quang Rafael Rania Ravi Renée Rosa Ruth Samir
    Samuel Sana Santiago Sefina Seo-Yeon Sienna Sofía Soren Takoda Talia Tariq Tenzin Thandiwe Theo
    Tomás Uma Valentina Vikram Wendell Winona Xiomara Yara Yusuf Zainab Zara Zoë
    """
)

_MADE_UP = _words(
    """
    Blank Demo Example Faux Fictive Figment Imagin Mock Madeup Notreal Paper Placehold Pretend Proto
    Sample Sandbox Specimen Stand-In Synth Test
    """
)
_ENDINGS = _words(
    """
    aleh area berg born by dóttir eczek ez field ford gård ham heimer ić ishvili kova lund man more
    nen nova ola oğlu owski pour quist señor shaw skaya smith son stein ton vale ville well wick
    wood worth
    """
)
FAMILY = (
    *(made_up + ending for made_up in _MADE_UP for ending in _ENDINGS),
    *(
        "O’Sample",
        "O'Mock",
        "D'Exemple",
        "de la Ficción",
        "van der Proef",
        "al-Mithal",
        "Test-Fauxwood",
        "Ng-Demoton",
    ),
)

PLACES = _words(
    """
    Alderwick Amberlow Ashmere Birchmoor Briarholt Calderbrook Cloverley Copperfen Dapplemere
    Elmstead Fallowmere Fernhollow Foxley Gableton Glenmarrow Hazelmoor Heronsgate Hollinbrook
    Ivorydown Juniperlea Kestrelford Larkmere Lindenshaw Marlowfen Meadowhythe Millrace Nettlecombe
    Oakhanger Orchardside Pebbleford Quillbrook Rookhaven Rowanlea Sedgewater Silverholt Sparrowdale
    Thistledown Umberfield Vinterlow Willowmarch
    """
)
TOWNS = ("Larkmere", "Upper Sparrowdale", "Quillbrook", "Port Example", "New Alderwick", "Fernhollow")
STATES = ("CA", "TX", "NM", "MN", "OH", "GA", "NY", "WA")
SEXES: tuple[Literal["male", "female"] | None, ...] = ("male", "female", None)
COUNTRIES = ("MX", "VN", "SO", "GT", "PH", "IN", "UA", "HT")


def plain(name: str) -> str:
    """Returns a name in lower-case ASCII letters only, as a login name spells it; `Núria-Mae` gives `nuriamae`."""
    letters = unicodedata.normalize("NFKD", name).lower()
    return "".join(letter for letter in letters if "a" <= letter <= "z")


_PLAIN = {name: plain(name) for name in (*GIVEN, *FAMILY)}


def login(given_name: str, family: str) -> str:
    """Returns the login name `given.family` in ASCII.

    The name is not unique. A caller that needs a unique name adds a number.
    """
    return f"{_PLAIN[given_name]}.{_PLAIN[family]}"


def person(rng: Random) -> tuple[str, str, str | None]:
    """Returns a given name, a family name and, for two in five people, a middle name.

    Every call takes the same number of random draws from `rng`, whether or not there is a middle name. So a middle name
    does not change the values that are drawn afterwards.
    """
    given_name, family, middle = rng.choice(GIVEN), rng.choice(FAMILY), rng.choice(GIVEN)
    return given_name, family, middle if rng.random() < 0.4 else None
