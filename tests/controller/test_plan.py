"""Selection, prompt sets, bald evidence, seeds: answers known beforehand."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from acusim import bald
from acusim.errors import ConfigError
from acusim.layout import scan
from acusim.prompt_sets import load_prompt_sets
from acusim.sample_id import SampleId
from acusim.seeds import derive_seed
from acusim.selection import parse_selection
from controller.plan import Extent, Item, split_colliding


def _id(stem: str) -> SampleId:
    return SampleId.parse(stem)


@pytest.mark.parametrize(
    ("text", "stem", "taken"),
    [
        ("gender=F,hair=HA,frame=1-36", "F_Ann_N_HA_O_0036", True),
        ("gender=F,hair=HA,frame=1-36", "F_Ann_N_HA_O_0037", False),
        ("gender=F,hair=HA,frame=1-36", "M_Ann_N_HA_O_0001", False),
        ("hair=HA,HC,frame=1,5-9", "F_Ann_N_HC_O_0007", True),
        ("hair=HA,HC,frame=1,5-9", "F_Ann_N_HD_O_0007", False),
        ("eye=-", "F_Ann_N_HA_0001", True),
        ("eye=-", "F_Ann_N_HA_O_0001", False),
        ("frame=kept", "F_Ann_N_HA_O_0012", False),
        ("name=王 小明", "F_王 小明_N_HA_O_0012", True),
        ("split=test", "F_Ann_N_HA_O_0001", False),
        (None, "F_Ann_N_HA_O_0144", True),
    ],
)
def test_selection(text: str | None, stem: str, taken: bool):
    assert parse_selection(text)(_id(stem), "train") is taken


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("sex=F", "'sex'"),
        ("gender=X", "'X'"),
        ("F", "gender=F"),
        ("gender=F,gender=M", "twice"),
        ("frame=0", "frame 0"),
        ("gender=", "''"),
        ("gender=F,,hair=HA", "empty"),
    ],
)
def test_selection_refusal_names_the_fault(text: str, named: str):
    with pytest.raises(ConfigError) as error:
        parse_selection(text)
    assert named in str(error.value)


@pytest.mark.parametrize(
    ("stem", "is_bald", "name", "words"),
    [
        ("F_Ann_S_HA_O_0001", False, "female", ["woman", "slim", "eyes open"]),
        ("M_Bob_F_HA_C_0001", False, "male", ["man", "heavyset", "eyes closed"]),
        ("F_Ann_N_HB_O_0001", True, "bald_female", ["bald woman", "scalp"]),
        ("M_Bob_N_HB_0001", True, "bald_male", ["bald man", "scalp"]),
    ],
)
def test_four_prompt_sets(stem: str, is_bald: bool, name: str, words: list[str]):
    sets = load_prompt_sets()
    chosen = sets.choose(_id(stem), is_bald)
    assert chosen.name == name
    for seed in range(4):
        positive, negative = sets.texts(chosen, _id(stem), seed)
        assert all(word in positive for word in words[:2])
        assert "{" not in positive + negative and ", ," not in positive and not positive.endswith(",")
        assert is_bald == negative.startswith("hair,")  # bald sets name hair in the negative
        assert not is_bald or "hair" not in positive.replace("hairstyle", "")
    assert len({sets.texts(chosen, _id(stem), seed)[0] for seed in range(4)}) == 2  # two phrasings


def test_own_prompt_file(tmp_path: Path):
    path = tmp_path / "own.toml"
    path.write_text(
        '[words.hair]\nHA = "red curls"\n'
        '[[set]]\nname = "closed"\neye = "C"\npositive = "a {hair} sleeper, {eyes}"\n'
        '[[set]]\nname = "female"\ngender = "F"\npositive = ["my woman, {hair}"]\nnegative = "n"\n',
        encoding="utf-8",
    )
    sets = load_prompt_sets(path)
    sleeper = _id("M_Bob_N_HA_C_0001")
    assert sets.texts(sets.choose(sleeper, True), sleeper, 5) == ("a red curls sleeper, eyes closed", "")
    woman = _id("F_Ann_N_HC_O_0001")  # HC has no word: the comma goes too
    assert sets.texts(sets.choose(woman, False), woman, 0) == ("my woman", "n")
    assert sets.choose(_id("M_Bob_N_HA_O_0001"), True).name == "bald_male"  # the shipped ones follow
    assert sets.digest != load_prompt_sets().digest


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("x = 1", "'x'"),
        ("[[set]]\npositive = 'a'", "no name"),
        ("[[set]]\nname = 'a'", "positive"),
        ("[[set]]\nname = 'a'\npositive = '{age}'", "{age}"),
        ("[[set]]\nname = 'a'\npositive = '{size.__class__}'", "size.__class__"),
        ("[[set]]\nname = 'a'\npositive = '{'", "'{'"),
        ("[[set]]\nname = 'a'\npositive = 'b'\nbald = 'yes'", "bald"),
        ("[[set]]\nname = 'a'\npositive = 'b'\n[[set]]\nname = 'a'\npositive = 'b'", "same name"),
        ("[words.nose]\nA = 'b'", "nose"),
        ("not toml", "not TOML"),
    ],
)
def test_prompt_file_refusal_names_the_fault(text: str, named: str, tmp_path: Path):
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_prompt_sets(path)
    assert named in str(error.value)


def test_seed_is_a_function_of_the_sample():
    """SHA-256 of base, stem, variant and attempt, by lines; the first eight bytes, halved."""
    stem = "F_Ann_N_HA_O_0001"
    expected = int.from_bytes(hashlib.sha256(b"7\nF_Ann_N_HA_O_0001\n2\n0").digest()[:8], "big") // 2
    assert derive_seed(7, _id(stem), 2, 0) == expected < 2**63
    others = [derive_seed(8, _id(stem), 2, 0), derive_seed(7, _id(stem), 1, 0), derive_seed(7, _id(stem), 2, 1)]
    assert expected not in others and len(set(others)) == 3


def test_bald_codes_from_labels(make_dataset: Callable[..., Path]):
    root = make_dataset(frames=(1, 73, 91, 110))
    dataset = scan(root)
    evidence = {entry.code: entry for entry in bald.gather_evidence(dataset.root, dataset.samples)}
    assert {code for code, entry in evidence.items() if entry.bald} == {"HB"}
    assert evidence["HB"].listed == evidence["HB"].facing > 40
    assert evidence["HA"].listed == 0 < evidence["HA"].facing
    assert "seen" in str(evidence["HB"]) and "bald" in str(evidence["HB"])


def test_real_asher_labels_say_haired(make_dataset: Callable[..., Path]):
    """The ten real label files of M_Asher_N_HD: a haired head."""
    root = make_dataset(frames=(1, 4, 19, 40, 55, 80, 91, 110, 127, 140), models=("M_Asher_N_HD",))
    for real in (Path(__file__).parents[1] / "data" / "acusim").glob("*.json"):
        (root / "train/label/label" / real.name).write_bytes(real.read_bytes())
    dataset = scan(root)
    [entry] = bald.gather_evidence(dataset.root, dataset.samples)
    assert not entry.bald and entry.listed == 0 and entry.facing > 50


def test_no_evidence_means_haired_and_says_so(make_dataset: Callable[..., Path]):
    root = make_dataset(frames=(110,), models=("M_Dan_N_HB_C",))  # seen from below: no scalp point faces the camera
    for path in (root / "train/label/label").iterdir():
        path.write_text("broken")
    dataset = scan(root)
    [entry] = bald.gather_evidence(dataset.root, dataset.samples)
    assert not entry.bald and "no evidence" in entry.reason


def test_bald_codes_list():
    assert bald.parse_bald_codes("auto") is None
    assert bald.parse_bald_codes("none") == frozenset()
    assert bald.parse_bald_codes("HB, HF") == {"HB", "HF"}
    for wrong in ("H-B", "none,HA", "HB, Auto", "HB,,HF"):
        with pytest.raises(ConfigError, match="write auto, none, or codes"):
            bald.parse_bald_codes(wrong)


def test_scan_pairs_by_stem_and_lists_the_rest(make_dataset: Callable[..., Path], tmp_path: Path):
    root = make_dataset(frames=(1, 2, 3))
    images, labels = root / "train/image/img_64", root / "train/label/label"
    (labels / "F_Ann_N_HA_O_0001.json").unlink()
    (images / "F_Ann_N_HA_O_0002.png").unlink()
    (images / "holiday.png").write_bytes(b"x")
    (images / "notes.txt").write_bytes(b"x")
    outside = tmp_path / "outside.png"
    outside.write_bytes((images / "M_Bob_F_HC_C_0001.png").read_bytes())
    (images / "M_Eve_N_HA_O_0001.png").symlink_to(outside)
    dataset = scan(root)
    assert len(dataset.samples) == 4 * 3 - 2
    assert all(Path(s.image).stem == Path(s.label).stem for s in dataset.samples)
    message = {problem.path.rsplit("/", 1)[1]: problem for problem in dataset.problems}
    assert set(message) == {
        "F_Ann_N_HA_O_0001.png",
        "F_Ann_N_HA_O_0002.json",
        "holiday.png",
        "notes.txt",
        "M_Eve_N_HA_O_0001.png",
    }
    assert "orphan" in message["F_Ann_N_HA_O_0002.json"].reason and not message["F_Ann_N_HA_O_0002.json"].is_image
    assert "leads out" in message["M_Eve_N_HA_O_0001.png"].reason and message["M_Eve_N_HA_O_0001.png"].is_image


def test_scan_matches_composed_and_decomposed_names(make_dataset: Callable[..., Path]):
    import unicodedata

    root = make_dataset(frames=(1,), models=("F_Zoé_N_HA_O",))
    label = next((root / "train/label/label").iterdir())
    label.rename(label.with_name(unicodedata.normalize("NFD", label.name)))
    [sample] = scan(root).samples
    assert sample.id.name == "Zoé" and sample.label.endswith(unicodedata.normalize("NFD", label.name))


def test_colliding_names_are_reported_apart(make_dataset: Callable[..., Path]):
    root = make_dataset(frames=(1,), models=("F_ann_N_HA_O", "F_Ann_N_HA_O"))
    items = [Item(sample, 0, "") for sample in scan(root).samples]
    reasons = [reason for _, reason in split_colliding(items)]
    assert reasons[0] is None and "F_Ann_N_HA_O_0001.png" in str(reasons[1])


def test_dry_run_writes_nothing(make_dataset: Callable[..., Path], command: Callable[..., object], tmp_path: Path):
    root = make_dataset(frames=(1, 73, 91))
    out = tmp_path / "out"
    done = command("--batch", "--dry-run", "--engine", "relight", "--dataset", root, "--output", out, "--json", check=0)
    report = json.loads(done.stdout)  # type: ignore[attr-defined]
    assert report["pictures"] == 12
    assert report["prompt_sets"] == {"bald_female": 3, "bald_male": 3, "female": 3, "male": 3}
    assert not out.exists()


def test_some_persons_come_with_all_their_samples_and_fewer_are_among_more(make_dataset: Callable[..., Path]):
    models = tuple(f"F_{name}_N_HA_O" for name in ("Ann", "Bea", "Cleo", "Dora", "Eve")) + ("F_ANN_F_HC_O",)
    samples = scan(make_dataset(models=models, frames=(1, 2, 3)), None).samples
    everyone = parse_selection(None)
    before: set[str] = set()
    for count in range(1, 7):
        chosen = Extent(everyone, persons=count).of(samples)
        names = {sample.id.name.casefold() for sample in chosen}
        assert len(names) == min(count, 5) and before <= names, "one person is a name, however it is written"
        assert chosen == [sample for sample in samples if sample.id.name.casefold() in names]
        before = names
    assert Extent(everyone).of(samples) == samples
    assert Extent(everyone, persons=2, limit=4).of(samples) == Extent(everyone, persons=2).of(samples)[:4]
    drawn = {frozenset(s.id.name for s in Extent(everyone, persons=2, seed=seed).of(samples)) for seed in range(9)}
    assert len(drawn) > 1
