"""Who is drawn: grammar, uniqueness, spread, and stability under growth."""

from acusim.sample_id import SampleId
from synthetic.hair import STYLES
from synthetic.identity import BALD, HAIR_CODES, identities, identity, random_for


def test_first_four_are_the_four_prompt_sets() -> None:
    assert [(who.gender, who.bald) for who in identities(0, 4)] == [
        ("F", False),
        ("M", False),
        ("F", True),
        ("M", True),
    ]


def test_sample_ids_follow_the_grammar() -> None:
    for who in identities(3, 40):
        sample = who.sample_id(141)
        assert SampleId.parse(str(sample)) == sample
        assert str(sample) == f"{who.gender}_{who.name}_{who.size}_{who.hair}_{who.eye}_0141"
        assert who.name.isalpha() and who.name.isascii()


def test_names_are_unique_and_do_not_change_when_more_are_made() -> None:
    few, many = identities(5, 10), identities(5, 300)
    assert many[:10] == few
    assert len({who.name for who in many}) == 300


def test_identity_alone_is_the_one_of_the_list() -> None:
    assert identity(5, 7) == identities(5, 8)[7]


def test_spread_over_a_data_set() -> None:
    people = identities(0, 48)
    assert sum(who.gender == "F" for who in people) == 24
    assert {who.size for who in people} == {"F", "N", "S"}
    assert {who.hair for who in people} == set(HAIR_CODES)
    assert {who.eye for who in people} == {"O", "C"}
    assert sum(who.bald for who in people) == 12
    assert {who.gender for who in people if who.eye == "C"} == {"F", "M"}
    tones = sorted(who.tone for who in people)
    assert tones[0] < 0.05 and tones[-1] > 0.95
    for gender in "FM":
        sizes = [who.size for who in people if who.gender == gender]
        assert min(sizes.count(size) for size in "FNS") >= 7


def test_hair_codes_have_a_style_or_are_bald() -> None:
    assert set(STYLES) | {BALD} == set(HAIR_CODES) and len(STYLES) >= 5


def test_other_seed_other_people() -> None:
    assert identities(0, 4) != identities(1, 4)


def test_random_for_depends_on_the_whole_key() -> None:
    assert random_for("a", 1, 23).integers(1 << 60) != random_for("a", 12, 3).integers(1 << 60)
    assert random_for("a", 1).integers(1 << 60) == random_for("a", 1).integers(1 << 60)
