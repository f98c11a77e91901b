"""ONNX files that are broken, or that want to break something."""

from __future__ import annotations

import os
import random
import socket
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import ModelRefused
from gateway.models import protobuf
from gateway.models.graph import MAX_DEPTH
from gateway.models.onnx_file import OnnxFile, inspect, servable
from gateway.models.protobuf import Reader, bytes_field, number_field, varint
from tests.models import builders

GOOD = builders.classifier(["a", "b", "c"]).SerializeToString()


def attempt(folder, data: bytes):
    """Inspects hostile bytes: an answer or a refusal, and nothing else, within a second."""
    (folder / "model.onnx").write_bytes(data)
    start = time.process_time()
    answer: OnnxFile | ModelRefused
    try:
        answer = inspect(folder, "model.onnx")
        servable(answer)
    except ModelRefused as refusal:
        answer = refusal
    assert time.process_time() - start < 1
    if isinstance(answer, ModelRefused):
        assert "model.onnx" in str(answer)
        assert len(str(answer)) < 1000
    return answer


def test_a_file_cut_off_anywhere_is_refused_or_still_a_model(tmp_path):
    for size in range(len(GOOD)):
        attempt(tmp_path, GOOD[:size])
    assert isinstance(attempt(tmp_path, b""), ModelRefused)
    assert not isinstance(attempt(tmp_path, GOOD), ModelRefused)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_garbage_is_refused(tmp_path, data):
    assert isinstance(attempt(tmp_path, data), ModelRefused)


def test_random_damage_is_refused_or_harmless(tmp_path):
    dice = random.Random(7)
    for _ in range(1500):
        data = bytearray(GOOD)
        for _ in range(dice.randint(1, 4)):
            place = dice.randrange(len(data))
            match dice.randrange(4):
                case 0:
                    data[place] = dice.randrange(256)
                case 1:
                    del data[place : place + dice.randint(1, 9)]
                case 2:
                    data[place:place] = data[place : place + dice.randint(1, 30)]
                case 3:
                    data[place:place] = dice.randbytes(dice.randint(1, 9))
        attempt(tmp_path, bytes(data))


def in_model(*graph_fields: bytes) -> bytes:
    return number_field(1, 8) + bytes_field(7, b"".join(graph_fields))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(
            b"\x3a\xff\xff\xff\xff\x07", "field 7 has 2147483647 bytes, 0 are left", id="length"
        ),
        pytest.param(
            b"\x3a" + b"\xff" * 9 + b"\x01", "field 7 has 18446744073709551615", id="uint64"
        ),
        pytest.param(b"\x08" + b"\x80" * 11, "more than ten bytes", id="endless-varint"),
        pytest.param(b"\x08\x80", "a number is cut off", id="half-varint"),
        pytest.param(b"\x3b", "wire type 3", id="group"),
        pytest.param(b"\x0f", "wire type 7", id="no-such-wire-type"),
        pytest.param(b"\x00\x00", "field number 0", id="field-zero"),
        pytest.param(b"\x0d\x00", "field 1 is cut off", id="half-fixed32"),
        pytest.param(number_field(7, 1), "graph is not length-delimited", id="graph-as-number"),
        pytest.param(bytes_field(1, b"x"), "ir_version is not a number", id="version-as-text"),
        pytest.param(bytes_field(2, b"\xff\xfe"), "producer is not UTF-8", id="not-utf8"),
        pytest.param(in_model() * 2, "wanted one graph, got 2", id="two-graphs"),
        pytest.param(number_field(1, 8), "wanted one graph, got 0", id="no-graph"),
        pytest.param(b"{}", "wire type 3", id="json"),
        pytest.param(b"\x80\x04\x95", "", id="pickle"),
    ],
)
def test_corrupt_bytes_are_named(tmp_path, data, said):
    assert said in str(attempt(tmp_path, data))


def nested(depth: int) -> bytes:
    graph = b""
    for _ in range(depth):
        graph = bytes_field(1, bytes_field(5, bytes_field(6, graph)))
    return in_model(graph, bytes_field(12, b""))


def test_graphs_within_graphs_end_at_the_limit(tmp_path):
    assert "nested deeper" not in str(attempt(tmp_path, nested(MAX_DEPTH)))
    assert "nested deeper than 32" in str(attempt(tmp_path, nested(MAX_DEPTH + 1)))


def test_a_nesting_bomb_ends_at_the_limit(tmp_path):
    assert "nested deeper than 32" in str(attempt(tmp_path, nested(20_000)))


def test_types_within_types_do_not_nest(tmp_path):
    kind = bytes_field(1, b"")
    for _ in range(5_000):
        kind = bytes_field(4, bytes_field(1, kind))
    output = bytes_field(1, b"deep") + bytes_field(2, kind)
    assert "got sequence" in str(attempt(tmp_path, in_model(bytes_field(12, output))))


EMPTY = {number: bytes_field(number, b"") for number in range(1, 26)}
SUBGRAPHS = bytes_field(5, EMPTY[11] * 100_000)
FOREIGN = b"".join(
    bytes_field(1, bytes_field(4, b"%d" % n) + bytes_field(7, b"org")) for n in range(10_001)
)
FAR = b"".join(
    bytes_field(5, bytes_field(13, bytes_field(1, b"location") + bytes_field(2, b"%d" % n)))
    for n in range(10_001)
)
ZIPMAP = bytes_field(4, b"ZipMap") + bytes_field(7, b"ai.onnx.ml")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(in_model(EMPTY[11] * 70_000), "more than 65536 inputs", id="inputs"),
        pytest.param(in_model(EMPTY[12] * 70_000), "more than 65536 outputs", id="outputs"),
        pytest.param(
            in_model(bytes_field(1, EMPTY[5] * 5000)), "attributes of one node", id="node"
        ),
        pytest.param(
            in_model(bytes_field(1, SUBGRAPHS)), "more than 65536 subgraphs", id="subgraphs"
        ),
        pytest.param(in_model(FOREIGN), "more than 10000 foreign operators", id="operators"),
        pytest.param(in_model(FAR), "more than 10000 external data files", id="external-files"),
        pytest.param(
            in_model(bytes_field(1, ZIPMAP + bytes_field(5, EMPTY[9] * 100_001))),
            "more than 100000 ZipMap classes",
            id="classes",
        ),
        pytest.param(
            in_model(bytes_field(1, ZIPMAP + bytes_field(5, bytes_field(8, bytes(100_001))))),
            "more than 100000 ZipMap classes",
            id="packed-classes",
        ),
        pytest.param(EMPTY[8] * 11_000, "more than 10000 opset imports", id="opsets"),
        pytest.param(EMPTY[25] * 11_000, "more than 10000 functions", id="functions"),
        pytest.param(bytes_field(20, EMPTY[1] * 11_000), "10000 training graphs", id="training"),
        pytest.param(
            bytes_field(14, bytes_field(1, b"k") + bytes_field(2, bytes(1 << 20))),
            "more than 1048576 characters of metadata",
            id="metadata",
        ),
    ],
)
def test_what_is_kept_in_memory_is_bounded(tmp_path, data, said):
    assert said in str(attempt(tmp_path, data))


def test_a_file_of_empty_fields_is_given_up():
    reader = Reader("bomb", left=1000)
    with pytest.raises(ModelRefused, match="bomb: more than"):
        list(reader.fields(memoryview(b"\x7a\x00" * 1001)))
    assert protobuf.MAX_FIELDS <= 10_000_000


@given(st.integers(0, 2**64 - 1))
def test_a_varint_reads_as_written(number):
    [(field, value, start, stop)] = Reader("v").fields(memoryview(number_field(3, number)))
    assert (field, value, start, stop) == (3, number, 0, len(varint(number)) + 1)


@given(st.binary(max_size=300), st.integers(1, 2**29 - 1))
def test_bytes_read_as_written(payload, number):
    [(field, value, _, _)] = Reader("b").fields(memoryview(bytes_field(number, payload)))
    assert (field, bytes(value)) == (number, payload)


def test_a_file_larger_than_protobuf_allows_is_refused_unread(tmp_path):
    with (tmp_path / "model.onnx").open("wb") as file:
        file.truncate(1 << 31)
    with pytest.raises(ModelRefused, match=r"wanted at most 2147483647 bytes .* got 2147483648"):
        inspect(tmp_path, "model.onnx")


def test_a_mapped_file_reads_like_a_small_one(tmp_path):
    path = builders.save(tmp_path, builders.linear())
    size = 80 << 20  # of a field that nobody knows, in a file with a hole
    with path.open("ab") as file:
        file.write(varint(200 << 3 | 2) + varint(size))
        file.truncate(file.tell() + size)
    assert [spec.name for spec in inspect(tmp_path, "model.onnx").inputs] == ["x"]


@pytest.fixture
def home(tmp_path):
    """A model's folder, with a file outside it that no model may reach."""
    (tmp_path / "secret.bin").write_bytes(bytes(32))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "w.bin").write_bytes(bytes(32))
    (folder / "sub").mkdir()
    (folder / "out").symlink_to("../secret.bin")
    (folder / "up").symlink_to("..")
    (folder / "loop").symlink_to("loop")
    (folder / "gone").symlink_to("nowhere")
    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(folder / "sock"))
    return folder


ESCAPES = [
    pytest.param("../secret.bin", "a path out of it", id="dot-dot"),
    pytest.param("sub/../../secret.bin", "a path out of it", id="dot-dot-inside"),
    pytest.param("sub/../w.bin", "a path out of it", id="dot-dot-that-stays"),
    pytest.param("/etc/passwd", "a path out of it", id="absolute"),
    pytest.param("//etc/passwd", "a path out of it", id="two-slashes"),
    pytest.param("out", "a link out of it", id="symlink"),
    pytest.param("up/secret.bin", "a link out of it", id="symlinked-folder"),
    pytest.param("loop", "cannot be opened", id="symlink-loop"),
    pytest.param("gone", "no such file", id="dangling-symlink"),
    pytest.param("absent.bin", "no such file", id="missing"),
    pytest.param("w.bin/x", "cannot be opened", id="file-as-folder"),
    pytest.param("sub", "wanted a regular file", id="folder"),
    pytest.param("sub/", "wanted the name of a file", id="trailing-slash"),
    pytest.param(".", "a path out of it", id="dot"),
    pytest.param("  ", "wanted the name of a file", id="blank"),
    pytest.param("w.bin\0", "wanted the name of a file", id="nul"),
    pytest.param("..\\secret.bin", "wanted the name of a file", id="backslash"),
    pytest.param("n" * 300, "cannot be opened", id="long-component"),
    pytest.param("n/" * 5000 + "n", "no such file", id="long-path"),
    pytest.param("fifo", "wanted a regular file", id="fifo"),
    pytest.param("sock", "wanted a regular file", id="socket"),
]


@pytest.mark.parametrize(("location", "said"), ESCAPES)
def test_external_data_stays_in_the_models_folder(home, location, said):
    builders.save(home, builders.external(location))
    with pytest.raises(ModelRefused, match="external data") as refusal:
        inspect(home, "model.onnx")
    assert said in str(refusal.value)
    assert str(home.parent) not in str(refusal.value)


@pytest.mark.parametrize(("name", "said"), ESCAPES)
def test_the_model_file_stays_in_the_models_folder(home, name, said):
    with pytest.raises(ModelRefused, match="model file") as refusal:
        inspect(home, name)
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        pytest.param({"location": ""}, "wanted a file's name, got ''", id="no-location"),
        pytest.param({"location": "*/_ORT_MEM_ADDR_/*", "offset": 4096}, "_ORT_MEM", id="memory"),
        pytest.param(
            {"location": "w.bin", "length": 33}, "wanted 33 bytes, the file has 32", id="long"
        ),
        pytest.param(
            {"location": "w.bin", "offset": 8, "length": 25}, "wanted 33 bytes", id="offset"
        ),
        pytest.param(
            {"location": "w.bin", "offset": -1}, "offset: wanted a byte count", id="negative"
        ),
        pytest.param(
            {"location": "w.bin", "length": "1e3"}, "wanted a byte count", id="not-a-number"
        ),
        pytest.param(
            {"location": "w.bin", "length": "9" * 40}, "wanted a byte count", id="overflow"
        ),
        pytest.param(
            {"location": "w.bin", "length": "²"}, "wanted a byte count", id="unicode-digit"
        ),
    ],
)
def test_external_data_must_be_what_it_says(home, entries, said):
    builders.save(home, builders.external(**entries))
    with pytest.raises(ModelRefused, match="external data") as refusal:
        inspect(home, "model.onnx")
    assert said in str(refusal.value)


def test_external_data_named_twice_is_refused(home):
    model = builders.external("w.bin")
    model.graph.initializer[0].external_data.add(key="location", value="../secret.bin")
    builders.save(home, model)
    with pytest.raises(ModelRefused, match="'location' twice"):
        inspect(home, "model.onnx")


def test_entries_count_even_where_the_tensor_claims_to_be_inside(home):
    model = builders.external("../secret.bin")
    model.graph.initializer[0].data_location = 0
    builders.save(home, model)
    with pytest.raises(ModelRefused, match="a path out of it"):
        inspect(home, "model.onnx")


def test_a_link_within_the_folder_and_a_linked_folder_are_fine(home, tmp_path):
    (home / "alias.bin").symlink_to("w.bin")
    builders.save(home, builders.external("alias.bin"))
    (tmp_path / "repository").symlink_to("model")
    assert inspect(tmp_path / "repository", "model.onnx").external == ("alias.bin",)


def test_an_unreadable_folder_is_a_refusal(tmp_path):
    with pytest.raises(ModelRefused, match="no such file"):
        inspect(tmp_path / "absent", "model.onnx")
