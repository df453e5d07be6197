"""Names of objects and files tell keys apart and keep their order, whatever is in them."""

from hypothesis import given
from hypothesis import strategies as st

from goflow_trio.stores.names import Names, decode, encode, unwrap, wrap

KEYS = st.text(
    alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    | st.sampled_from("!-./09:@AZ[^_`az{~\x7f\x80\ud7ff\ue000\uffff\U0010ffff"),
    min_size=1,
)


@given(KEYS, KEYS)
def test_names_are_in_the_order_of_keys(one, other):
    assert (encode(one) < encode(other)) == (one < other)
    assert encode(one + other).startswith(encode(one))


@given(KEYS)
def test_a_name_tells_its_key_and_nothing_else_does(key):
    name = encode(key)
    assert decode(name) == key
    assert name.isascii()
    assert not set(name) & set('/\\:*?"<>| ')
    assert name not in {".", ".."}
    assert name == name.lower()
    assert decode(name + "~~") is None
    assert decode(name.upper()) in {None, key}


@given(KEYS, KEYS, st.integers(100, 120))
def test_long_names_are_cut_and_stay_in_the_order_of_their_groups(one, other, longest):
    names = Names(longest)
    one, other = (one * 100)[:150], (one * 100)[:149] + other
    for key in (one, other):
        assert len(names.of(key)) <= longest
        assert names.is_cut(names.of(key)) == (decode(names.of(key)) is None)
        assert names.group(names.of(key)) == names.group(encode(key))
    assert (names.of(one) == names.of(other)) == (one == other)
    groups = names.group(names.of(one)), names.group(names.of(other))
    if groups[0] != groups[1]:
        assert (groups[0] < groups[1]) == (one < other)


@given(KEYS, st.binary())
def test_what_a_cut_name_holds_tells_its_key(key, value):
    assert unwrap(wrap(key, value)) == (key, value)
