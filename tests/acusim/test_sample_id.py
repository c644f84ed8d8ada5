"""The grammar of sample IDs."""

import pytest

from acusim.errors import SampleIdError
from acusim.sample_id import SampleId


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("F_Brisen_F_HA_C_0141", SampleId("F", "Brisen", "F", "HA", "C", 141)),
        ("M_Asher_N_HD_0001", SampleId("M", "Asher", "N", "HD", None, 1)),
        ("F_王 小明_S_HB_O_0144", SampleId("F", "王 小明", "S", "HB", "O", 144)),
        ("M_van_der_Berg_N_HC_C_0030", SampleId("M", "van_der_Berg", "N", "HC", "C", 30)),
        ("M_N_N_C_O_0001", SampleId("M", "N", "N", "C", "O", 1)),  # size N, hair C, eye O
        ("M_Ann_S_C_0001", SampleId("M", "Ann", "S", "C", None, 1)),  # a hair code that looks like an eye state
    ],
)
def test_sample_id_parses_and_formats(stem: str, expected: SampleId):
    assert SampleId.parse(stem) == expected
    assert str(expected) == stem


@pytest.mark.parametrize(
    ("stem", "named"),
    [
        ("X_Asher_N_HD_0001", "'X'"),
        ("m_Asher_N_HD_0001", "'m'"),
        ("M_Asher_Q_HD_0001", "'Q'"),
        ("M_Asher_Q_HD_O_0001", "'Q'"),
        ("M_Asher_N_HD_0145", "'0145'"),
        ("M_Asher_N_HD_0000", "'0000'"),
        ("M_Asher_N_HD_1", "'1'"),
        ("M_Asher_N_HD_٠٠٠١", "0001..0144"),  # digits, but not ASCII
        ("M_Asher_N_H-D_0001", "'H-D'"),
        ("M__N_HD_0001", "name"),
        ("M_As/her_N_HD_0001", "name"),
        ("Asher", "1 parts"),
        ("", "1 parts"),
    ],
)
def test_sample_id_refusal_names_the_part(stem: str, named: str):
    with pytest.raises(SampleIdError, match="sample ID") as error:
        SampleId.parse(stem)
    assert named in str(error.value)
