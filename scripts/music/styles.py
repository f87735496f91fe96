"""Styles of music: who plays, how fast, and which rhythms, as tables that a composer draws from."""

import dataclasses
from collections.abc import Mapping

SOURCES = ("vocals", "piano", "drums", "bass", "other")

Programs = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Role:
    """What one player of a style may do.

    Attributes:
      source: the source that it is part of.
      programs: of the soundfont, bank 0.
      lines: what a section repeats in every bar; one is drawn. Either a name in `GROOVES` or in
        `patterns.PATTERNS`, or sixteenths: a digit is a voice of the ladder, x a chord, - holds
        it, a dot is a rest.
      ladder: the pitches that digits count, see `patterns.Pattern`.
      register: MIDI pitches: where the lowest voice may lie, from and to, and the highest note.
      rest: how likely the player rests in a section.
    """

    source: str
    programs: Programs
    lines: tuple[str, ...]
    ladder: str = "chord"
    register: tuple[int, int, int] = (48, 60, 90)
    rest: float = 0.2


@dataclasses.dataclass(frozen=True)
class Style:
    """A style of music.

    Attributes:
      name: for readers.
      tempo: beats per minute, from and to.
      chances: how likely each source plays at all, in the order of `SOURCES`.
      roles: the players; those of other may be several.
      sung: how likely vocals are words rather than a choir of the soundfont.
      num_beats: per bar; one is drawn.
      swing: where the off-beat lies in a beat; one is drawn.
      modes: one is drawn.
      progressions: degrees of the chords, one per bar; one is drawn.
      chord_size: notes per chord; one is drawn.
      most_others: the most players of the source other.
      reverb: the most that is sent to it, 0-127.
    """

    name: str
    tempo: tuple[float, float]
    chances: tuple[float, float, float, float, float]
    roles: tuple[Role, ...]
    sung: float
    num_beats: tuple[int, ...] = (4,)
    swing: tuple[float, ...] = (0.5,)
    modes: tuple[str, ...] = ("major", "minor")
    progressions: tuple[tuple[int, ...], ...] = (
        (0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 4, 3), (0, 6, 5, 4), (0, 3, 5, 4),
    )  # fmt: skip
    chord_size: tuple[int, ...] = (3,)
    most_others: int = 2
    reverb: int = 60


# Pitches of the General MIDI kit and the sixteenths that they are struck on.
GROOVES: Mapping[str, Mapping[int, str]] = {
    "rock": {36: "x.......x.x.....", 38: "....x.......x...", 42: "x.x.x.x.x.x.x.x."},
    "rock ride": {36: "x.....x.x.......", 38: "....x.......x..x", 51: "x.x.x.x.x.x.x.x."},
    "heavy rock": {36: "x..x....x.x..x..", 38: "....x.......x...", 49: "x...x...x...x..."},
    "double kick": {36: "xxxxxxxxxxxxxxxx", 38: "....x.......x...", 51: "x.x.x.x.x.x.x.x."},
    "blast": {36: "x.x.x.x.x.x.x.x.", 38: ".x.x.x.x.x.x.x.x", 49: "x...x...x...x..."},
    "gallop": {36: "x.xxx.xxx.xxx.xx", 38: "....x.......x...", 42: "x...x...x...x..."},
    "four on the floor": {36: "x...x...x...x...", 39: "....x.......x...", 46: "..x...x...x...x."},
    "house hats": {36: "x...x...x...x...", 42: "xxxxxxxxxxxxxxxx", 46: "..x...x...x...x."},
    "house shaker": {36: "x...x...x...x...", 39: "....x..x....x...", 70: "x.xxx.xxx.xxx.xx"},
    "two step": {36: "x.........x.....", 38: "....x.......x...", 42: "x.x.x.x.x.x.x.x."},
    "break": {36: "x.x.......xx....", 38: "....x..x.x..x..x", 51: "x.x.x.x.x.x.x.x."},
    "rolling break": {36: "x.........x..x..", 38: "....x.......x...", 42: "xxxxxxxxxxxxxxxx"},
    "swing ride": {51: "x...x.x.x...x.x.", 44: "....x.......x...", 36: "x.............x."},
    "brushes": {38: "x.x.x.x.x.x.x.x.", 44: "....x.......x...", 36: "x.......x......."},
    "ballad": {36: "x.......x.......", 37: "....x.......x...", 42: "x.x.x.x.x.x.x.x."},
    "soft": {36: "x.......x.x.....", 42: "x...x...x...x...", 54: "....x.......x..."},
    "train": {36: "x.......x.......", 38: "x.xxx.xxx.xxx.xx"},
    "boom bap": {36: "x..x......x.....", 38: "....x.......x...", 42: "x.x.x.x.x.x.x.xx"},
    "lazy": {36: "x.....x...x..x..", 39: "....x.......x...", 42: "x.x.xxx.x.x.x.x."},
    "trap": {36: "x......x..x.....", 39: "........x.......", 42: "x.xxx.x.xxxxx.xx"},
    "funk": {36: "x.x...x..x....x.", 38: "....x..x.x..x..x", 42: "xxxxxxxxxxxxxxxx"},
    "tight funk": {36: "x..x..x...x..x..", 38: "....x..x....x...", 42: "x.xxx.x.x.xxx.x."},
    "bossa": {36: "x..xx..xx..xx..x", 37: "x..x..x...x..x..", 42: "x.x.x.x.x.x.x.x."},
    "samba": {36: "x..xx..xx..xx..x", 70: "x.xxx.xxx.xxx.xx", 76: "x.x..x.x..x.x..."},
    "one drop": {36: "........x.......", 37: "........x.......", 42: "x.x.x.x.x.x.x.x."},
    "steppers": {36: "x...x...x...x...", 37: "........x.......", 42: "..x...x...x...x."},
    "timpani and cymbals": {41: "x.......x...x.x.", 43: "....x...........", 49: "x..............."},
    "march": {38: "x..xx.x.x..xx.xx", 36: "x.......x.......", 49: "x..............."},
    "hand drums": {62: "x..x..x.x..x..x.", 63: "....x.......x...", 70: "x.x.x.x.x.x.x.x."},
    "distant": {36: "x.........x.....", 54: "....x.......x...", 51: "x...x...x...x..."},
}  # fmt: skip

_GRAND, _ELECTRIC = (0, 0, 1, 2), (4, 4, 0, 2)
_KEYS, _LOW, _LEAD, _PADS = (45, 57, 88), (26, 33, 55), (60, 70, 92), (48, 60, 86)
_GUITAR, _DEEP_GUITAR = (42, 54, 80), (38, 43, 64)
_CHOIR = ("pad", "x-------x-------", "x---x---x---x---", "0---2---4---3---")
_SLOW = ("0---2-4-3---2---", "4-------3---2---", "0-1-2---4-------", "melody")


def _choir(rest: float = 0.25) -> Role:
    return Role("vocals", (52, 52, 53, 54), _CHOIR, register=(50, 62, 82), rest=rest)


def _drums(kits: Programs, *grooves: str, rest: float = 0.15) -> Role:
    return Role("drums", kits, grooves, "kit", (0, 0, 127), rest)


def _bass(programs: Programs, *lines: str, rest: float = 0.15) -> Role:
    return Role("bass", programs, lines, "root", _LOW, rest)


def _piano(programs: Programs, *lines: str, rest: float = 0.2) -> Role:
    return Role("piano", programs, lines, "chord", _KEYS, rest)


def _chords(programs: Programs, *lines: str, register: tuple[int, int, int] = _PADS) -> Role:
    return Role("other", programs, lines, "chord", register)


def _lead(programs: Programs, *lines: str) -> Role:
    return Role("other", programs, lines, "scale", _LEAD, 0.3)


STYLES = (
    Style(
        "Piano Ballad",
        (60, 84),
        (0.5, 0.88, 0.35, 0.45, 0.55),
        (
            _choir(),
            _piano(_GRAND, "0-1-2-3-4-3-2-1-", "x---x---x---x---", "arpeggio", "0-2-3-2-4-2-3-2-"),
            _drums((0, 8, 40), "ballad", "soft"),
            _bass((32, 33, 35), "0---------------", "0-------2-------", "0-----0-2-------"),
            _chords((48, 49, 50, 24), "pad", "x-------x-------"),
            _lead((42, 40, 68, 73), *_SLOW),
        ),
        sung=0.5,
        num_beats=(4, 4, 3),
        reverb=90,
    ),
    Style(
        "Rock",
        (104, 152),
        (0.5, 0.35, 0.85, 0.82, 0.85),
        (
            _choir(),
            _piano(_GRAND, "x-x-x-x-x-x-x-x-", "x-----x---x-----", "x---x---x---x---"),
            _drums((0, 8, 16), "rock", "rock ride", "heavy rock"),
            _bass((33, 34), "0-0-0-0-0-0-0-0-", "0-----0-0---2-3-", "0-0-..0-0-0-..2-"),
            _chords((29, 27, 30), "x-x-x-x-x-x-x-x-", "x---x-x-..x-x-x-", register=_GUITAR),
            _chords((18, 25), "pad", "strum", register=_GUITAR),
            _lead((29, 30), "melody", *_SLOW),
        ),
        sung=0.7,
        modes=("major", "minor", "mixolydian"),
        most_others=3,
        reverb=40,
    ),
    Style(
        "Metal",
        (132, 188),
        (0.42, 0.25, 0.85, 0.82, 0.9),
        (
            _choir(),
            _piano(_GRAND, "0-2-3-2-4-2-3-2-", "x-------x-------"),
            _drums((16, 8), "double kick", "blast", "gallop", "heavy rock"),
            _bass((34, 33), "0000000000000000", "0-000-000-000-00", "0-0-0-0-0-0-0-0-"),
            _chords((30, 29), "x.xxx.xxx.xxx.xx", "xxxxxxxxxxxxxxxx", "x---x.xx..x-x.xx",
                    register=_DEEP_GUITAR),
            _lead((30, 29), "arpeggio", "melody", "0123456765432101"),
            _chords((48, 50), "pad"),
        ),
        sung=0.4,
        modes=("minor", "minor", "dorian"),
        progressions=((0,), (0, 5), (0, 6, 5, 4), (0, 5, 6, 0), (0, 3)),
        reverb=30,
    ),
    Style(
        "House",
        (118, 129),
        (0.48, 0.48, 0.85, 0.78, 0.7),
        (
            _choir(),
            _piano((1, 0, 2), "x..x..x...x..x..", "x--x--x---x-x---", "..x-..x-..x-..x-"),
            _drums((24, 25), "four on the floor", "house hats", "house shaker"),
            _bass((38, 39, 36), "..0-..0-..0-..3-", "0..0..0...0..2..", "0-3-0-3-0-3-0-3-"),
            _chords((81, 90, 50), "x..x..x...x..x..", "pad", register=_PADS),
            _lead((81, 80, 87), "arpeggio", "0.2.4.2.0.2.4.3."),
        ),
        sung=0.4,
        modes=("minor", "dorian"),
        progressions=((0, 5), (0, 3), (0, 5, 3, 4), (0, 6, 5, 6)),
        chord_size=(3, 4),
    ),
    Style(
        "Drum and Bass",
        (164, 178),
        (0.42, 0.38, 0.87, 0.83, 0.65),
        (
            _choir(),
            _piano((2, 4, 0), "x-----x---------", "x---------x-----", "arpeggio"),
            _drums((24, 16, 0), "two step", "break", "rolling break", rest=0.12),
            _bass((38, 39, 87), "0-----0-..3-0---", "0---------2-3---", "0-0..00-0..0-3-2"),
            _chords((50, 89, 95), "pad", "x---------------"),
            _lead((81, 80, 98), "arpeggio", "0...2...4...3..."),
        ),
        sung=0.3,
        modes=("minor", "dorian"),
        progressions=((0, 5), (0, 0, 5, 5), (0, 5, 3, 4), (0, 6)),
        reverb=50,
    ),
    Style(
        "Jazz Trio",
        (96, 190),
        (0.38, 0.78, 0.7, 0.75, 0.55),
        (
            _choir(0.35),
            _piano((0, 0, 1), "x.....x.....x...", "..x---....x.....", "melody", "x-----x-..x-----"),
            _drums((32, 40), "swing ride", "brushes"),
            _bass((32, 32, 35), "0---1---2---1---", "0---2---3---2---", "3---2---1---0---"),
            _lead((65, 66, 56, 71), "melody", "0-2-4---3-2-1---", "4---2-3-..1-0---"),
            _chords((26, 11), "x.....x.....x...", "..x---....x-----", "x---x---x---x---"),
        ),
        sung=0.35,
        swing=(0.64, 0.66),
        modes=("major", "dorian", "minor"),
        progressions=((1, 4, 0, 0), (0, 5, 1, 4), (2, 5, 1, 4), (0, 3, 1, 4)),
        chord_size=(4,),
        reverb=45,
    ),
    Style(
        "Folk",
        (84, 132),
        (0.58, 0.38, 0.42, 0.55, 0.88),
        (
            _choir(0.3),
            _piano((0, 3, 3), "0---x---2---x---", "x---x---x---x---", "arpeggio"),
            _drums((40, 0), "train", "hand drums", "soft"),
            _bass((32, 33), "0-------2-------", "0---0---2---2---"),
            _chords((25, 24), "x---x-x-..x-x-x-", "x-x-x-x-x-x-x-x-", "0-2-3-2-4-2-3-2-", "strum",
                    register=_GUITAR),
            _lead((40, 73, 22, 21), "melody", *_SLOW),
            _chords((105, 25), "0-2-3-4-2-3-4-2-", "arpeggio"),
        ),
        sung=0.6,
        num_beats=(4, 4, 3),
        modes=("major", "dorian", "mixolydian"),
        most_others=3,
        reverb=45,
    ),
    Style(
        "Orchestral",
        (66, 132),
        (0.45, 0.42, 0.55, 0.6, 0.93),
        (
            _choir(),
            _piano(_GRAND, "arpeggio", "0-2-3-4-3-2-3-2-", "x-------x-------"),
            _drums((48, 48, 0), "timpani and cymbals", "march"),
            _bass((43, 32), "0-------2-------", "0---0---0---0---", "0---------------"),
            _chords((48, 49, 45), "pad", "x-x-x-x-x-x-x-x-", "x---x---x---x---"),
            _chords((61, 60, 58), "x-----x-x-------", "x-------x-------", register=_GUITAR),
            _lead((73, 68, 40, 71), "melody", "0-1-2-3-4-3-2-1-", *_SLOW),
            _chords((46,), "arpeggio", "0123432101234321"),
        ),
        sung=0.0,
        num_beats=(4, 4, 3),
        most_others=4,
        reverb=110,
    ),
    Style(
        "Choral",
        (60, 100),
        (0.93, 0.45, 0.32, 0.42, 0.6),
        (
            _choir(0.1),
            _piano(_GRAND, "x---x---x---x---", "arpeggio", "0-1-2-1-3-1-2-1-"),
            _drums((48, 0), "soft", "timpani and cymbals", "hand drums"),
            _bass((43, 32), "0---------------", "0-------2-------", "0---2---3---2---"),
            _chords((19, 19, 20), "pad", "x-------x-------", "x---x---x---x---"),
            _chords((48, 46), "pad", "arpeggio"),
        ),
        sung=0.1,
        num_beats=(4, 4, 3),
        modes=("major", "minor", "dorian"),
        reverb=120,
    ),
    Style(
        "Hip-Hop",
        (80, 98),
        (0.6, 0.48, 0.85, 0.82, 0.52),
        (
            _choir(),
            _piano(_ELECTRIC, "x-----x---x-----", "0-1-2---4-3-2---", "x-------..x-----"),
            _drums((25, 24, 8), "boom bap", "lazy", "trap"),
            _bass((38, 33, 39), "0-----0---0-----", "0-------..0-2-3-", "0---......0---0-"),
            _chords((48, 61, 11), "x---..x---..x---", "x-------x-------", "pad"),
            _lead((73, 80, 45), "0.2.4...3.2.0...", "arpeggio"),
        ),
        sung=0.6,
        swing=(0.5, 0.56, 0.6),
        modes=("minor", "dorian"),
        progressions=((0, 5), (0,), (0, 3), (0, 6, 5, 4)),
        chord_size=(3, 4),
        reverb=30,
    ),
    Style(
        "Ambient",
        (60, 84),
        (0.48, 0.52, 0.35, 0.58, 0.85),
        (
            _choir(),
            _piano((0, 4, 2), "0-----2-----4---", "x---------------", "arpeggio",
                   "4-------2-----3-"),
            _drums((24, 25), "distant", "lazy"),
            _bass((39, 38, 35), "0---------------", "0-------0-------"),
            _chords((89, 88, 95, 94), "pad", "pad", "x-------x-------"),
            _chords((92, 11, 46, 98), "arpeggio", "0---3---4---2---"),
        ),
        sung=0.15,
        modes=("major", "dorian", "mixolydian"),
        progressions=((0,), (0, 3), (0, 5), (0, 2, 3, 4)),
        chord_size=(3, 4),
        most_others=3,
        reverb=120,
    ),
    Style(
        "Funk",
        (96, 118),
        (0.46, 0.46, 0.83, 0.85, 0.74),
        (
            _choir(0.3),
            _piano(_ELECTRIC, "x..x..x...x.x...", "..x...x.x..x..x.", "x---..x-..x-..x-"),
            _drums((8, 0), "funk", "tight funk"),
            _bass((36, 37, 33), "0..0..3.0..0.23.", "0.0...3..0.2..3.", "00..3.0..0..2.3."),
            _chords((27, 28), "x.xx..x.x.xx.xx.", "..x...x...x...xx", register=_GUITAR),
            _chords((61, 62), "....x.....x..x..", "x.....x.........", "x--x......x--x--"),
            _chords((16, 17), "x---..x---..x---", "pad"),
        ),
        sung=0.5,
        modes=("dorian", "mixolydian"),
        progressions=((0,), (0, 3), (0, 0, 3, 3)),
        chord_size=(4,),
        most_others=3,
        reverb=30,
    ),
    Style(
        "Bossa Nova",
        (112, 144),
        (0.46, 0.55, 0.66, 0.7, 0.72),
        (
            _choir(0.3),
            _piano((0, 4), "x..x..x...x..x..", "x-----x---x-----", "melody"),
            _drums((32, 0), "bossa", "samba"),
            _bass((32, 35), "0-----2-2-----0-", "0-----2-0-----2-"),
            _chords((24, 24, 26), "x--x--x---x--x--", "x-x..xx-..xx-.x-", register=_GUITAR),
            _lead((73, 65, 71), "melody", "0-2---4-3---2---", "4-----3-2-----1-"),
        ),
        sung=0.45,
        modes=("major", "dorian"),
        progressions=((0, 5, 1, 4), (1, 4, 0, 0), (0, 0, 1, 4), (2, 5, 1, 4)),
        chord_size=(4,),
        reverb=50,
    ),
    Style(
        "Reggae",
        (128, 156),
        (0.5, 0.46, 0.8, 0.83, 0.72),
        (
            _choir(0.3),
            _piano((0, 1, 2), "....x.......x...", "....x.x.....x.x.", "..x...x...x...x."),
            _drums((0, 8), "one drop", "steppers"),
            _bass((33, 32), "0---..0-2---3---", "..0-0---2-..3-2-", "0-----2---0---.."),
            _chords((27, 28), "....x.......x...", "....x-......x-..", register=_GUITAR),
            _chords((16, 17), "..x...x...x...x.", "pad", "x---..x-....x---"),
            _chords((61, 56), "x---x-......x---", "x-------........"),
        ),
        sung=0.55,
        modes=("major", "minor", "dorian"),
        progressions=((0, 3), (0, 4, 3, 4), (0, 5, 3, 4), (0, 1)),
        reverb=60,
    ),
)  # fmt: skip
