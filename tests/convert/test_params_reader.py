"""Every version and type of parameter file reads back what was put into its bytes; everything else is one sentence."""

import io
import struct
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from dcn_tasks.errors import InputError
from tests.convert import file_bytes as fb
from weights_convert import Sparse, load_params
from weights_convert.arrays import same_bits

DATA = Path(__file__).parent / "data"
GRID = np.arange(6, dtype=np.float32).reshape(2, 3) / 7
VERSIONS = {"V0": fb.v0, "V1": fb.v1, "V2": fb.v2, "V3": fb.v3}
TYPES = {name: np.dtype(name) for name in fb.FLAGS if name != "bfloat16"} | {"bfloat16": np.dtype(ml_dtypes.bfloat16)}


@pytest.fixture
def written(tmp_path):
    def write(data: bytes, name: str = "a.params") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def refused(path: Path, *words: str) -> str:
    with pytest.raises(InputError) as caught:
        load_params(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    for word in words:
        assert word in message, f"{word!r} not in {message!r}"
    return message


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("type_name", TYPES)
def test_every_version_and_type_reads_its_bytes(written, version, type_name):
    array = np.array([[0, 1, 1], [1, 0, 1]]).astype(TYPES[type_name])
    params = load_params(written(fb.nd_list([VERSIONS[version](array)], ["arg:w"])))
    assert list(params.arg) == ["w"] and not params.aux and not params.unnamed
    assert same_bits(params.arg["w"], array)


def test_prefixes_split_test_names_stay_and_bare_names_are_listed(written):
    names = ["arg:rfcn_bbox_weight_test", "aux:bn_moving_mean", "features.0.weight", "foo:bar"]
    params = load_params(written(fb.nd_list([fb.v2(GRID)] * 4, names)))
    assert list(params.arg) == ["rfcn_bbox_weight_test", "features.0.weight", "foo:bar"]
    assert list(params.aux) == ["bn_moving_mean"]
    assert params.bare == {"features.0.weight", "foo:bar"}
    assert [name for name, _ in params.items()] == [names[0], names[2], names[3], names[1]]


def test_list_without_names_is_unnamed_in_order(written):
    params = load_params(written(fb.nd_list([fb.v0(GRID), fb.v2(GRID + 1)])))
    assert not params.arg and not params.aux
    np.testing.assert_array_equal(params.unnamed, [GRID, GRID + 1])


def test_array_saved_on_a_gpu_reads(written):
    assert same_bits(load_params(written(fb.nd_list([fb.v1(GRID, fb.GPU3)], ["arg:w"]))).arg["w"], GRID)


@pytest.mark.parametrize(
    "record", [struct.pack("<I", 0), struct.pack("<Ii", fb.V1, 0), struct.pack("<Iii", fb.V2, 0, 0)]
)
def test_record_without_shape_is_empty_and_the_next_one_reads(written, record):
    params = load_params(written(fb.nd_list([record, fb.v2(GRID)], ["arg:none", "arg:w"])))
    assert params.arg["none"].size == 0
    assert same_bits(params.arg["w"], GRID)


def test_v3_scalar_and_zero_extent_are_real_arrays(written):
    scalar, empty = np.array(2.5, np.float32), np.empty((0, 3), np.float32)
    params = load_params(written(fb.nd_list([fb.v3(scalar), fb.v3(empty)], ["s", "e"])))
    assert params.arg["s"].shape == () and params.arg["s"] == 2.5
    assert params.arg["e"].shape == (0, 3)


@pytest.mark.parametrize("stored", [(0, 2), (2, 2)], ids=["stored shape written too early", "stored shape right"])
def test_row_sparse_counts_rows_by_its_index(written, stored):
    data, rows = np.array([[1, 2], [3, 4]], np.float32), np.array([1, 3])
    params = load_params(
        written(fb.nd_list([fb.row_sparse(data, rows, (4, 2), stored), fb.v2(GRID)], ["arg:r", "arg:w"]))
    )
    sparse = params.arg["r"]
    assert isinstance(sparse, Sparse) and (sparse.kind, sparse.shape, sparse.indptr) == ("row_sparse", (4, 2), None)
    np.testing.assert_array_equal(sparse.to_dense(), [[0, 0], [1, 2], [0, 0], [3, 4]])
    assert same_bits(params.arg["w"], GRID)


def test_csr_reads_row_starts_before_columns(written):
    data = np.array([1, 2, 3], np.float32)
    record = fb.csr(data, np.array([0, 2, 3]), np.array([0, 2, 1]), (2, 3))
    sparse = load_params(written(fb.nd_list([record], ["arg:c"]))).arg["c"]
    np.testing.assert_array_equal(sparse.to_dense(), [[1, 0, 2], [0, 3, 0]])
    np.testing.assert_array_equal(sparse.indptr, [0, 2, 3])


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (fb.row_sparse(np.ones((1, 2), np.float32), np.array([4]), (4, 2)), "outside 0..3"),
        (fb.row_sparse(np.ones((1, 2), np.float32), np.array([-1]), (4, 2)), "outside 0..3"),
        (fb.csr(np.ones(1, np.float32), np.array([0, 1, 0]), np.array([0]), (2, 3)), "row starts"),
        (fb.csr(np.ones(1, np.float32), np.array([0, 1]), np.array([0]), (2, 3)), "2 row starts for 2 rows"),
        (fb.csr(np.ones(1, np.float32), np.array([0, 1, 1]), np.array([3]), (2, 3)), "outside 0..2"),
    ],
)
def test_sparse_index_outside_its_array_is_refused(written, record, reason):
    refused(written(fb.nd_list([record], ["arg:x"])), reason)


def test_values_are_read_only_views_of_the_file(written):
    array = load_params(written(fb.nd_list([fb.v2(GRID)], ["arg:w"]))).arg["w"]
    assert array.base is not None and not array.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1


def test_file_without_arrays_reads_as_nothing(written):
    assert len(load_params(written(fb.nd_list([])))) == 0


# --- MXNet 2 -------------------------------------------------------------------------------------------------------


def test_npz_of_mxnet_2_with_its_malformed_sparse_header():
    params = load_params(DATA / "mxnet2_sparse.npz")
    np.testing.assert_array_equal(params.arg["d"], np.arange(6, dtype=np.float32).reshape(2, 3))
    np.testing.assert_array_equal(params.arg["c"].to_dense(), [[1, 0, 2], [0, 3, 0]])
    np.testing.assert_array_equal(params.arg["r"].to_dense(), [[0, 0], [1, 2], [0, 0], [3, 4]])
    assert (params.arg["c"].kind, params.arg["r"].kind) == ("csr", "row_sparse")


def test_npz_of_mxnet_2_with_a_scalar_and_a_zero_extent():
    params = load_params(DATA / "mxnet2_scalar.npz")
    assert params.arg["s"].shape == () and params.arg["s"] == 3
    assert params.arg["z"].shape == (0, 3)


def npy(descr: str, shape: str, data: bytes, fortran: bool = False) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def test_npy_of_mxnet_2_in_bfloat16(written):
    bits = np.array([0x3FC0, 0xC020], np.uint16)
    array = load_params(written(npy("[('bfloat16', '<u2')]", "(2,)", bits.tobytes()))).unnamed[0]
    assert array.dtype == ml_dtypes.bfloat16 and array.tolist() == [1.5, -2.5]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("descr", ["<f4", ">f4", "|b1", "<i8"])
def test_npy_of_numpy_reads(written, descr, order):
    array = np.array([[0, 1, 1], [1, 0, 1]], dtype=descr, order=order)
    file = io.BytesIO()
    np.save(file, array)
    np.testing.assert_array_equal(load_params(written(file.getvalue())).unnamed[0], array)


def test_npz_prefixes_split_and_packed_members_read(written):
    file = io.BytesIO()
    np.savez_compressed(file, **{"arg:0.weight": GRID, "aux:1.running_mean": GRID[0]})
    params = load_params(written(file.getvalue()))
    assert same_bits(params.arg["0.weight"], GRID) and same_bits(params.aux["1.running_mean"], GRID[0])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (npy("'|O'", "(1,)", b"x"), ["Python objects"]),
        (npy("'<c8'", "(1,)", bytes(8)), ["<c8"]),
        (npy("'<f4'", "(1152921504606846976,)", b""), ["needs 4611686018427387904 bytes"]),
        (npy("'<f4'", "(99999999999999999999,)", b""), ["a shape that can't be"]),
        (npy("'<f4'", "(2, 3)", bytes(20)), ["24 bytes"]),
        (npy("'<f4'", "(2, 3)", bytes(28)), ["4 bytes follow"]),
        (b"\x93NUMPY\x01\x00\xff\xff{", ["65535 bytes"]),
        (npy("__import__('os')", "(1,)", b""), ["can't be read"]),
    ],
)
def test_bad_npy_is_refused(written, data, words):
    refused(written(data), *words)


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def test_zip_bomb_is_refused_before_it_unpacks(written):
    bomb = zipped({"a.npy": npy("'|u1'", "(100000000,)", bytes(100_000_000))}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 200_000
    refused(written(bomb), "bomb", "uncompressed")


def test_pytorch_pickle_in_a_zip_is_named(written):
    refused(written(zipped({"archive/data.pkl": b"\x80\x02."})), "pickled PyTorch checkpoint", "never loaded")


def test_zip_with_a_foreign_member_is_named(written):
    refused(written(zipped({"model.json": b"{}"})), "model.json")


def test_damaged_zip_member_is_refused(written):
    data = bytearray((DATA / "mxnet2_sparse.npz").read_bytes())
    data[170] ^= 0xFF  # a value of the first array: only its checksum can tell
    refused(written(bytes(data)), "damaged")


# --- not a whole parameter file ------------------------------------------------------------------------------------


def test_hundred_bytes_claiming_2_to_the_60_elements_are_refused(written):
    record = struct.pack("<Ii", fb.V2, 0) + fb.shape64((1 << 30, 1 << 30)) + struct.pack("<iii", 1, 0, 0)
    message = refused(written(fb.nd_list([record], ["arg:w"])), "4611686018427387904 bytes", "fetch the file again")
    assert "at byte 64" in message


def test_product_past_64_bits_does_not_wrap_round(written):
    record = struct.pack("<Ii", fb.V2, 0) + fb.shape64((1 << 32, 1 << 32, 1)) + struct.pack("<iii", 1, 0, 0)
    refused(written(fb.nd_list([record], ["arg:w"])), str(1 << 66))


@pytest.mark.parametrize(
    ("count", "names"),
    [(1 << 60, b""), ((1 << 16) + 1, bytes((1 << 18) + 4))],
    ids=["more than bytes", "more than any file"],
)
def test_absurd_number_of_arrays_is_refused(written, count, names):
    refused(written(struct.pack("<QQQ", 0x112, 0, count) + names), f"claims {count} arrays")


WHOLE = fb.nd_list([fb.v2(GRID), fb.v0(GRID)], ["arg:first", "aux:second"])


@pytest.mark.parametrize("length", range(1, len(WHOLE)))
def test_file_cut_anywhere_is_refused(written, length):
    refused(written(WHOLE[:length]), "")


def test_cut_file_says_where_and_how_much(written):
    refused(written(WHOLE[:70]), "array 1 of 2", "needs 24 bytes", "ends after 6", "truncated", "fetch the file again")


def test_trailing_bytes_are_refused(written):
    refused(written(WHOLE + b"\0"), f"at byte {len(WHOLE)}", "1 bytes follow")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", ["empty"]),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 123\n", ["Git LFS pointer", "git lfs pull"]),
        (b"\x80\x02}q\x00.", ["pickle", "never loaded"]),
        (b"\x89HDF\r\n\x1a\n", ["HDF5"]),
        (b"\x1f\x8b\x08\x00", ["gzip"]),
        (b'{"nodes": []}', ["JSON"]),
        (b"<!DOCTYPE html>", ["web page"]),
        (struct.pack("<Q", 2) + b"{}" + b"    ", [".safetensors"]),
        (b"\x08\x07\x12\x07pytorch", ["begins with 08 07"]),
        (struct.pack("<QQQ", 0x112, 1, 0), ["no header"]),
        (b"PK\x03\x04" + bytes(40), ["damaged"]),
    ],
)
def test_foreign_file_is_named(written, data, words):
    refused(written(data), *words)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (struct.pack("<I", 0xF993FACB), ["0xf993facb", "no version"]),
        (struct.pack("<Ii", fb.V2, 7), ["storage type 7"]),
        (struct.pack("<Iii", fb.V2, 0, 1000), ["1000 dimensions"]),
        (struct.pack("<Ii", fb.V2, 0) + fb.shape64((-2,)), ["[-2]"]),
        (struct.pack("<Ii", fb.V2, 0) + fb.shape64((1,)) + struct.pack("<iii", 1, 0, 99), ["type flag 99"]),
        (struct.pack("<Ii", fb.V2, 0) + fb.shape64((1,)) + struct.pack("<iii", 77, 0, 0), ["device 77"]),
        (struct.pack("<Ii", fb.V2, 0) + fb.shape64((1,)) + struct.pack("<iii", 1, 0, 7) + b"\x05", ["neither 0 nor 1"]),
    ],
)
def test_damaged_record_is_refused(written, record, words):
    refused(written(fb.nd_list([record + bytes(64)], ["arg:w"])), *words)


def test_names_that_do_not_count_up_are_refused(written):
    refused(written(fb.nd_list([fb.v2(GRID), fb.v2(GRID)], ["arg:w"])), "1 names for 2 arrays")


def test_two_arrays_of_one_name_are_refused(written):
    refused(written(fb.nd_list([fb.v2(GRID), fb.v2(GRID)], ["arg:w", "arg:w"])), "'w'")


def test_name_that_is_no_text_is_refused(written):
    data = fb.nd_list([fb.v2(GRID)], ["arg:w"]).replace(b"arg:w", b"\xff\xff\xff\xff\xff")
    refused(written(data), "UTF-8")


def test_missing_file_and_folder_are_named(tmp_path):
    refused(tmp_path / "absent.params", "no such file")
    refused(tmp_path, "folder")
