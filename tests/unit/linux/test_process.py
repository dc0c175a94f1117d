"""What the launcher is asked for arrives as it was meant."""

import json

from hypothesis import given
from hypothesis import strategies as st

from hauberk.linux.process import ContainerView, Process, ProcessSpec, decode_process, decode_spec, encode_process, encode_spec

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
VIEWS = st.builds(
    ContainerView, hostname=WORDS, resolv_conf=WORDS, hosts=WORDS, hidden=st.lists(WORDS).map(tuple), writable=st.lists(WORDS).map(tuple)
)
SPECS = st.builds(
    ProcessSpec,
    argv=st.lists(WORDS, min_size=1).map(tuple),
    env=st.dictionaries(WORDS, WORDS),
    cwd=WORDS,
    network=st.none() | WORDS,
    uid=st.none() | st.integers(0, 2**32 - 2),
    groups=st.lists(st.integers(0, 9)).map(tuple),
    capabilities=st.lists(WORDS).map(tuple),
    container=st.none() | VIEWS,
    join=st.none() | WORDS,
    tty=st.booleans(),
    rlimits=st.lists(st.tuples(WORDS, st.integers(), st.integers())).map(tuple),
)


@given(SPECS)
def test_a_specification_survives_the_wire(spec: ProcessSpec) -> None:
    assert decode_spec(json.loads(json.dumps(encode_spec(spec))), None) == spec


def test_a_descriptor_is_not_sent_as_a_number_but_replaced_by_the_one_that_arrived() -> None:
    document = encode_spec(ProcessSpec(argv=("envoy",), executable=77))
    assert document["executable"] is True
    assert decode_spec(document, 5).executable == 5


def test_a_process_survives_the_wire() -> None:
    process = Process(name="a/b", pid=7, running=False, wait_status=256, started_at=1.5, ended_at=2.5)
    assert decode_process(json.loads(json.dumps(encode_process(process)))) == process
