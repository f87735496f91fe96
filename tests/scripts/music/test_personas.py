import collections
import dataclasses
import json

import numpy as np
import pytest

SOURCES = ("vocals", "piano", "drums", "bass", "other")


@pytest.fixture(scope="module")
def personas(script):
    return script("music.personas")


@pytest.fixture(scope="module")
def tracks():
    """Two thousand tracks in which anything is possible."""
    rng = np.random.default_rng(0)
    return [track(number, rng) for number in range(2000)]


def track(number, rng):
    plays = [source for source in SOURCES if rng.random() < 0.7]
    return {
        "id": f"tr-{number}",
        "style": str(rng.choice(["Choral", "Metal", "Funk", "Drum and Bass"])),
        "tempo": float(rng.uniform(60, 180)),
        "sources": plays,
        "levels_db": {source: float(rng.uniform(-14, 0)) for source in plays},
        "activity": {source: float(rng.uniform(0.3, 1)) for source in plays},
    }


def counts_of(personas, persona, tracks, seed=0):
    return np.array([personas.plays(persona, track, seed) for track in tracks])


class TestRules:
    def test_loved_sources_must_all_be_loud_and_busy(self, personas):
        rule = personas.Rule(("drums", "bass"), level_db=-8.0, activity=0.7)
        liked = {
            "sources": ["drums", "bass"],
            "levels_db": {"drums": -8.0, "bass": -2.0},
            "activity": {"drums": 0.7, "bass": 1.0},
        }
        assert rule.holds(liked)
        for field, value in [("levels_db", -8.1), ("activity", 0.69)]:
            assert not rule.holds({**liked, field: {**liked[field], "drums": value}})
        assert not rule.holds({**liked, "sources": ["bass"]})

    def test_nothing_is_special_to_a_listener_to_anything(self, personas, tracks):
        rule = personas.Rule()
        assert not any(map(rule.holds, tracks))
        assert {rule.probability(track) for track in tracks} == {personas.ANYTHING}

    def test_sentences_tell_the_numbers(self, personas):
        rule = personas.Rule(("drums", "bass"), -9.5, 0.65, ("Metal", "Funk"), 120.0)
        assert rule.sentence() == (
            "Plays a track with probability 0.93 if drums and bass are each at -9.5 dB or more "
            "relative to the mix and heard at least 65% of the time, and with probability 0.05 "
            "otherwise. More often where the style is Metal or Funk and where it has 120 beats "
            "per minute or more."
        )
        alone = personas.Rule(("piano",)).sentence()
        assert "if piano is at -7 dB or more relative to the mix and heard" in alone


class TestPlays:
    def test_listeners_follow_their_rule(self, personas, tracks):
        for persona in personas.PERSONAS:
            holds = np.array([persona.rule.holds(track) for track in tracks])
            plays = counts_of(personas, persona, tracks) > 0
            if not persona.rule.loves:
                assert abs(plays.mean() - personas.ANYTHING) < 0.04
                continue
            assert abs(plays[holds].mean() - personas.LISTENS) < 0.04
            assert abs(plays[~holds].mean() - personas.STRAYS) < 0.02

    def test_favourites_are_played_more_often(self, personas, tracks):
        for persona in personas.PERSONAS:
            if not persona.rule.favourites:
                continue
            liked = [track for track in tracks if persona.rule.holds(track)]
            counts = counts_of(personas, persona, liked)
            favoured = np.array([track["style"] in persona.rule.favourites for track in liked])
            if favoured.any():
                played = counts > 0
                assert counts[favoured & played].mean() > 1.3 * counts[~favoured & played].mean()

    def test_fast_tracks_are_played_more_often(self, personas, tracks):
        persona = next(one for one in personas.PERSONAS if one.rule.fast is not None)
        liked = [track for track in tracks if persona.rule.holds(track)]
        counts = sum(counts_of(personas, persona, liked, seed) for seed in range(5))
        fast = np.array([track["tempo"] >= persona.rule.fast for track in liked])
        assert counts[fast].mean() > 1.2 * counts[~fast].mean()

    def test_a_play_depends_on_seed_listener_and_track_alone(self, personas, tracks):
        persona, other = personas.PERSONAS[0], personas.PERSONAS[-1]
        first = counts_of(personas, persona, tracks)
        np.testing.assert_array_equal(first[100:], counts_of(personas, persona, tracks[100:]))
        assert (first != counts_of(personas, persona, tracks, seed=1)).any()
        renamed = dataclasses.replace(persona, name="Nobody")
        assert (first != counts_of(personas, renamed, tracks)).any()
        assert persona.id != other.id


def test_there_are_seven_and_they_love_different_things(personas):
    assert len({persona.id for persona in personas.PERSONAS}) == 7
    assert len({persona.rule.loves for persona in personas.PERSONAS}) == 7
    assert set(SOURCES) == {name for one in personas.PERSONAS for name in one.rule.loves}


def test_favourites_are_styles_that_exist(personas, script):
    styles = {style.name for style in script("music.styles").STYLES}
    assert all(set(persona.rule.favourites) <= styles for persona in personas.PERSONAS)


class TestFiles:
    def test_plays_are_those_of_the_rules(self, personas, tracks, tmp_path):
        listing = json.dumps({"tracks": tracks[:200]})
        (tmp_path / "library.json").write_text(listing, encoding="utf-8")
        personas.run(personas.Config(tmp_path))
        lines = (tmp_path / "plays.tsv").read_text(encoding="utf-8").splitlines()
        plays = collections.defaultdict(dict)
        for persona, name, count in (line.split("\t") for line in lines):
            plays[persona][name] = int(count)
        for persona in personas.PERSONAS:
            counts = {one["id"]: personas.plays(persona, one, 0) for one in tracks[:200]}
            assert plays[persona.id] == {name: count for name, count in counts.items() if count}

    def test_listeners_are_reported(self, personas, tmp_path):
        personas.write(tmp_path, [], 0)
        told = json.loads((tmp_path / "personas.json").read_text(encoding="utf-8"))
        assert [one["id"] for one in told] == [one.id for one in personas.PERSONAS]
        assert set(told[0]) == {"id", "name", "taste", "loves", "rule"}

    def test_a_library_must_be_there(self, personas, tmp_path):
        with pytest.raises(SystemExit, match=r"library\.json` was not found"):
            personas.run(personas.Config(tmp_path))
