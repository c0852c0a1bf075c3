"""Words of answers: functions, units, numbers in words, and what may stand around a value."""

from __future__ import annotations


def spellings(table: str) -> dict[str, str]:
    """Return the name of each spelling, from lines such as ``cm = cm centimeter``."""
    lines = [line.split(" = ") for line in table.strip().splitlines()]
    return {spelling: name for name, others in lines for spelling in others.split()}


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


FUNCTIONS = word_set(
    "sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc sinh cosh tanh coth asin acos atan "
    "log ln lg exp "
    "gcd lcm max min abs floor ceil Re Im"
)
"""Functions that are read with their names, in LaTeX and in plain text."""

GREEK = dict(
    zip(
        "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩϕµ",
        [
            "alpha",
            "beta",
            "gamma",
            "delta",
            "epsilon",
            "zeta",
            "eta",
            "theta",
            "iota",
            "kappa",
            "lambda",
            "mu",
            "nu",
            "xi",
            "pi",
            "rho",
            "sigma",
            "tau",
            "upsilon",
            "phi",
            "chi",
            "psi",
            "omega",
            "Gamma",
            "Delta",
            "Theta",
            "Lambda",
            "Xi",
            "Pi",
            "Sigma",
            "Phi",
            "Psi",
            "Omega",
            "phi",
            "mu",
        ],
        strict=True,
    )
)

_UNITS = """
cm = cm centimeter centimeters centimetre centimetres
mm = mm millimeter millimeters millimetre millimetres
km = km kilometer kilometers kilometre kilometres kms
m = m meter meters metre metres
in = in inch inches
ft = ft foot feet
yd = yd yard yards yds
mi = mi mile miles
nm = nm nanometer nanometers
kg = kg kilogram kilograms kgs
mg = mg milligram milligrams
g = g gram grams gm gms
lb = lb pound pounds lbs
oz = oz ounce ounces
ton = ton tons tonne tonnes
ml = ml milliliter milliliters mL millilitre
L = L l liter liters litre litres
gal = gal gallon gallons gals
s = s sec second seconds secs
min = min minute minutes mins
h = h hr hour hours hrs
day = day days
week = week weeks wk wks
month = month months
year = year years yr yrs
mph = mph
kph = kph kmh kmph
Hz = Hz hertz
kHz = kHz
MHz = MHz
kW = kW
kJ = kJ
kPa = kPa
mol = mol moles mole
rpm = rpm
cent = cent cents
dollar = dollar dollars usd USD bucks
euro = euro euros EUR
rupee = rupee rupees Rs INR
rad = rad radian radians rads
deg = deg
sq = sq
cu = cu
unit = unit units
"""
UNITS = spellings(_UNITS)
"""Units, each with the name that all its spellings share."""
UNIT_LETTERS = frozenset("mshglLNJWVCFKA")
"""Letters that are a unit after a number and a space, or in upright type."""

NOUNS = word_set(
    "us me him them go be do shall a an the is are in of to for per all day men man boy box car cup bag cat "
    "dog pie egg hen cow pig bee "
    "ant key jar can "
    "bat toy hat pen pet kid mom dad job bus van map row set way yes no red odd not and or if it its he she "
    "we you they "
    "so as at by on off out up left one two six ten our his her my new old big top sum day cut net age gum "
    "nut bar bed "
    "leg eye arm cap mug tin pan pot tie fan oil tea ice end day era tax fee tip fox owl rat sea sky sun "
    "fly but isn "
    "who how why what this that more less than half am pm was has had get gets let did do does only just "
    "both each any "
    "per too few "
    "lot lots bit way sir mrs ago out run pay old cow air ink may ran sat sit act add aid aim ask ate bad "
    "bag ban bay big "
    "buy cry cut dad die dig dip dry due ear eat end fit fix fur gap gas god gun guy hit hot ice ill jam "
    "law lay led let lie "
    "lip lot low mad mix mud nor now oak off own pad pan par pay pin pit pop put raw rid rip rub rug sad "
    "saw say see set she "
    "sir son tap tie toe top try use via war was wet win won yet zoo "
    "east west north south even true false none zero four five nine"
)
"""Words of at most four letters that are no product of variables."""

LEADS = word_set(
    "us exactly approximately about around roughly only just simply precisely equal equals to is "
    "therefore thus so hence "
    "then actually indeed namely just now also a an the value total of number clearly be are becomes as "
    "follows simplified "
    "answer final or option either both amount price cost probability area length volume "
    "answer's choice it "
    "x-values all real numbers estimated approx circa ~"
) - {"or", "option", "either", "both", "all", "real", "numbers", "of"}
"""Words that may stand before a value without changing it."""
LEADING_PHRASES = (("given", "by"),
    ("a", "total", "of"),
    ("total", "of"),
    ("the", "value", "of"),
    ("value", "of"),
    ("a", "value", "of"),
)

CLAUSES = word_set(
    "is isn't divides has have had would will can could should does do did seems looks appears works fails "
    "satisfies gives makes equals means becomes remains lies"
)
"""Verbs that make what follows a value a sentence about it, not its unit."""
CHANGES = word_set(
    "times half twice thrice double triple doubled tripled halved squared cubed factorial hundred thousand "
    "million billion "
    "trillion dozen dozens score more less fewer greater smaller larger than least most minus plus over "
    "divided multiplied by "
    "between from without not no never isn't wasn't aren't cannot can't won't don't doesn't didn't nor "
    "neither wrong incorrect "
    "false invalid impossible unlikely mistaken except excluding if unless when where quarter quarters "
    "third thirds fourth "
    "fourths fifth fifths sixth tenth tenths eighths hundredths halves out modulo mod "
    "below above under up or and but maybe perhaps versus vs reciprocal root "
    "power raised "
    "question problem step example case part exercise equation line figure page chapter option choice "
    "another other "
    "unknown undefined infinite infinitely solutions solution"
)
"""Words that make a value next to them another value, or none."""

SMALL = {
    word: value
    for value, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
}
TENS = {
    word: 10 * value
    for value, word in enumerate(
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2
    )
}
SCALES = {
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "dozen": 12,
}
PARTS = {
    "half": 2,
    "halves": 2,
    "third": 3,
    "thirds": 3,
    "quarter": 4,
    "quarters": 4,
    "fourth": 4,
    "fourths": 4,
    "fifth": 5,
    "fifths": 5,
    "sixth": 6,
    "sixths": 6,
    "seventh": 7,
    "sevenths": 7,
    "eighth": 8,
    "eighths": 8,
    "ninth": 9,
    "ninths": 9,
    "tenth": 10,
    "tenths": 10,
    "hundredths": 100,
}

ASSESSMENTS = word_set(
    "right correct consistent reasonable wrong clear obvious simple below above good fine valid sensible "
    "plausible incorrect "
    "straightforward verified confirmed certain sure final unique shown given found obtained computed "
    "determined matches follows "
    "true accurate solid sound exact complete checked okay ok easy that this matter taste"
) - {"true"}
"""Words that say something about an answer instead of giving it."""
NO_VALUES = word_set("undefined unknown infinite indeterminate nonexistent undetermined unsolvable")
"""Words that are an answer, and no value."""
