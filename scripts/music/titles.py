"""Titles, artists and albums of tracks that nobody recorded."""

from collections.abc import Mapping

import numpy as np

# Words of every style: adjectives and nouns of titles, and names of bands.
WORDS: Mapping[str, tuple[str, str, str]] = {
    "Piano Ballad": (
        "Quiet Distant Tender Last Paper Silver Fading",
        "Letter Window Winter Harbour Candle Rain",
        "Clara Møller|Jonas & Edda|The Slow Hours|Anaïs Béranger|Peter O'Dell",
    ),
    "Rock": (
        "Electric Burning Broken Restless Neon Loud Crooked",
        "Highway Engine Radio Summer Fire Town",
        "The Tin Rockets|Velvet Anvil|Maggie & the Motors|Copper Kings|Rosie's Garage",
    ),
    "Metal": (
        "Black Iron Frozen Endless Shattered Thunder Ashen",
        "Crown Forge Wolves Ruin Storm Throne",
        "Grünwald|Anvilheart|Skýfall Legion|Obsidian Oath|Thörn & Tide",
    ),
    "House": (
        "Endless Golden Midnight Deep Mirror Velvet Sunday",
        "Floor Motion Pulse Skyline Heat Light",
        "DJ Mandarine|Club Zürich|Lumen & Lace|Four to the Floor Co.|Nadia's Night",
    ),
    "Drum and Bass": (
        "Rolling Concrete Liquid Hyper Hollow Rapid Static",
        "Signal Runner Orbit Circuit Tunnel Wave",
        "Subframe|Kinetik 174|Amen & Sons|Low Tide|Citrus System",
    ),
    "Jazz Trio": (
        "Blue Lazy Crooked Smoky After-Hours Little Sidelong",
        "Corner Stroll Taxi Monday Shoes Tune",
        "Ida Lindqvist Trio|The Lemon Street Three|Bud & Friends|René Okafor|Ella's Corner",
    ),
    "Folk": (
        "Old Wandering Willow Green Barefoot Northern Hollow",
        "River Orchard Road Meadow Lantern Hill",
        "Fern & Fiddle|The Hazel Hills|Tomás Ribeiro|Wren O'Hara|Old Mill Band",
    ),
    "Orchestral": (
        "Solemn Bright Rising Autumn Royal Silent Stormy",
        "Overture Voyage Procession Dawn Sea Valley",
        "Lindenhof Philharmonic|Orchestre de l'Été|The Alder Symphony|Hall & Horizon",
    ),
    "Choral": (
        "Sacred Evening Clear Winter Gentle Morning Ancient",
        "Hymn Bells Vesper Star Vigil Blessing",
        "St Alder's Voices|Kammerchor Übersee|The Cloister Choir|Sisters & Brothers",
    ),
    "Hip-Hop": (
        "Heavy Late Corner Cold Golden Double Backseat",
        "Pockets Block Season Change Talk Ledger",
        "MC Marmalade|Pocket & Page|Don Lemonade|Brick Theory|Queen Élodie",
    ),
    "Ambient": (
        "Slow Weightless Pale Drifting Glass Inner Far",
        "Tide Horizon Snow Garden Orbit Mist",
        "Nordlicht|Aurora & Ash|Hushed Machines|Sea of Glass|Øyvind Sol",
    ),
    "Funk": (
        "Greasy Super Funky Tight Sweet Cosmic Sticky",
        "Groove Sauce Strut Machine Pepper Step",
        "The Lime Squeezers|Sly & Sour|Brassmaster Five|Mother's Pepper|Citrus Jam",
    ),
    "Bossa Nova": (
        "Soft Sunlit Salty Lazy Coral Warm Turquoise",
        "Beach Breeze Balcony Afternoon Samba Island",
        "João & Inês|Trio Maré|Copacabanda|Luísa Prado|The Lime Leaves",
    ),
    "Reggae": (
        "Easy Rising Sunny Mellow Natural Island Rootsy",
        "Harvest Skank Shade Lion River Breeze",
        "The Key Limes|Irie & the Echoes|Sister Verbena|Dub Grove|Papa's Yard",
    ),
}  # fmt: skip
FORMS = (
    "{adjective} {noun}", "The {adjective} {noun}", "{noun} & {other}", "{adjective}, {adverb}",
    "My {adjective} {noun}", "{noun}'s {other}", "{noun} (Pt. {number})", "No More {noun}",
    "Über {noun}", "{adjective} {noun}, {adjective} {other}",
)  # fmt: skip
FORM_CHANCES = (0.34, 0.14, 0.1, 0.07, 0.08, 0.07, 0.05, 0.07, 0.02, 0.06)
ADVERBS = ("Again", "Still", "Tonight", "Somehow", "Forever")
NUM_ALBUMS = 2


def draw(rng: np.random.Generator, style: str, seed: int) -> dict[str, str]:
    """Title, artist and album; an artist has `NUM_ALBUMS` albums."""
    artist = str(rng.choice(WORDS[style][2].split("|")))
    number = int(rng.integers(NUM_ALBUMS))
    of_album = np.random.default_rng((seed, number, *artist.encode()))
    return {"title": _title(rng, style), "artist": artist, "album": _title(of_album, style)}


def _title(rng: np.random.Generator, style: str) -> str:
    adjectives, nouns, _ = WORDS[style]
    noun, other = rng.choice(nouns.split(), 2, replace=False)
    return str(rng.choice(FORMS, p=FORM_CHANCES)).format(
        adjective=rng.choice(adjectives.split()),
        noun=noun,
        other=other,
        adverb=rng.choice(ADVERBS),
        number=rng.integers(1, 4),
    )
