"""penstock.py: follow a model that Penstock trains, or read a snapshot of one, from Python. Needs numpy.

    import penstock
    with penstock.Replica("tcp://10.0.0.1:4700") as r:      # or a run's folder; follow=False and "DIR@7": one cut, once
        r.version()                                         # {'cut': 12, 'records': 480000, ...}
        r.lookup("embedding", r.keys("user", ["17", "4711"]))   # float32 (2, dim)
        r.score({"user": ["17", "17"], "item": ["3", "5"]})     # probabilities, float32 (2,)

    snap = penstock.load_snapshot("run@7")                  # without the library: plain files, checked
    snap["emb.embedding.ids"], snap["emb.embedding.rows"]   # uint64 (n), float32 (n, dim), by rising id
    snap["dense.mlp.0.weight"]                              # whole, whatever number of shards wrote it

One file, no other packages. Replica loads libpenstock-replica.so.1 (ctypes), from `library=`, beside this file, or where the
system looks.
"""

import ctypes
import json
import os
import re
import struct

import numpy as np

__all__ = ["Error", "Replica", "load_snapshot"]


class Error(Exception):
    """What went wrong, in a sentence."""


# -- snapshots: safetensors files and a manifest, read here --

_DTYPES = {"F32": "<f4", "U32": "<u4", "U64": "<u8"}
_BLOCK = 256  # floats; a part of a dense tensor begins at a multiple


def _tensors(path):
    """All tensors of one safetensors file, as views of its map."""
    data = np.memmap(path, dtype=np.uint8, mode="r")
    if len(data) < 8:
        raise Error("%s: damaged: %d bytes are no safetensors file" % (path, len(data)))
    (n,) = struct.unpack("<Q", data[:8].tobytes())
    if n > len(data) - 8:
        raise Error("%s: damaged: its header is longer than the file" % path)
    try:
        header = json.loads(data[8 : 8 + n].tobytes())
    except ValueError:
        raise Error("%s: damaged: its header is not JSON" % path) from None
    header.pop("__metadata__", None)
    out = {}
    for name, t in header.items():
        begin, end = t["data_offsets"]
        dtype = np.dtype(_DTYPES.get(t["dtype"], "V1"))
        count = int(np.prod(t["shape"], dtype=np.int64))
        if dtype.kind == "V" or end - begin != count * dtype.itemsize or 8 + n + end > len(data):
            raise Error("%s: tensor %s does not fit" % (path, name))
        out[name] = data[8 + n + begin : 8 + n + end].view(dtype).reshape(t["shape"])
    return out


def _newest(cuts):
    numbers = [int(f[:-5]) for f in os.listdir(cuts) if re.fullmatch(r"[1-9][0-9]*\.json", f)]
    if not numbers:
        raise Error("%s: no complete cut there" % cuts)
    return max(numbers)


def _manifest(spec):
    """"DIR" or "DIR@k" -> (DIR, manifest). Without k what the recipe restores, else the newest."""
    found = re.fullmatch(r"(.+)@([0-9]+)", spec)
    if found and not os.path.isdir(spec):
        return found[1], _read_manifest(found[1], int(found[2]))
    if not os.path.isdir(os.path.join(spec, "cuts")):
        raise Error("%s: no run's folder (it has no cuts/)" % spec)
    m = _read_manifest(spec, _newest(os.path.join(spec, "cuts")))
    best = int(m["best"])
    return spec, _read_manifest(spec, best) if best else m


def _read_manifest(folder, k):
    path = os.path.join(folder, "cuts", "%d.json" % k)
    try:
        with open(path) as f:
            return json.load(f)
    except FileNotFoundError:
        raise Error("%s: there is no cut %d" % (folder, k)) from None
    except ValueError:
        raise Error("%s: damaged: it is not JSON" % path) from None


def _merge(old, new):
    """Rows (ids, others...) of a table: new ones over old ones; by rising id."""
    ids = np.concatenate([new[0], old[0]])
    _, at = np.unique(ids, return_index=True)  # the first of equals: the newer
    return tuple(np.concatenate([n, o])[at] for n, o in zip(new, old))


def _sparse(table, files):
    parts = ("ids", "rows", "state", "meta")
    whole = None
    for tensors in files:
        new = tuple(tensors["emb.%s.%s" % (table, p)] for p in parts)
        tomb = tensors.get("emb.%s.tomb" % table)
        if whole is not None and tomb is not None and len(tomb):
            stays = ~np.isin(whole[0], tomb)
            whole = tuple(w[stays] for w in whole)
        whole = tuple(np.array(x) for x in new) if whole is None else _merge(whole, new)
    return {"emb.%s.%s" % (table, p): np.ascontiguousarray(x) for p, x in zip(parts, whole)}


def _dense(table, files, plan):
    """Each tensor of the plan from the runs of all files, later ones over earlier ones."""
    out = {}
    for t in plan["tensors"]:
        flat, name = None, "%s.%s" % (table, t["name"])
        for tensors in files:
            for key, x in tensors.items():
                tail = key[len(name) :]
                if key == name or (key.startswith(name + ".") and tail[1:].isdigit()):
                    flat = np.zeros(int(np.prod(t["shape"])), np.float32) if flat is None else flat
                    first = 0 if key == name else int(tail[1:])
                    flat[first : first + x.size] = x.reshape(-1)
        if flat is None:
            raise Error("tensor %s is in no file" % name)
        out[name] = flat.reshape(t["shape"])
    return out


def load_snapshot(spec):
    """A complete cut ("DIR", "DIR@k") as a dict of numpy arrays: for each sparse table emb.T.ids, .rows, .state and
    .meta, by rising id; dense.NAME and stat.NAME. Rows are counted against the manifest; `penstock snap verify` checks
    all sums and hashes."""
    folder, m = _manifest(spec)
    with open(os.path.join(folder, "plan.json")) as f:
        plan = {t["name"]: t for t in json.load(f)["plan"]["tables"]}
    files = []
    for f in m["files"]:
        path = os.path.join(folder, f["name"])
        if not os.path.exists(path) or os.path.getsize(path) != int(f["bytes"]):
            raise Error("%s: damaged: it is missing or has not the length that the manifest says" % path)
        files.append(_tensors(path))
    out = {}
    for table in m["tables"]:
        name = table["name"]
        if plan[name]["kind"] == "sparse":
            out.update(_sparse(name, files))
            rows = len(out["emb.%s.ids" % name])
            if rows != int(table["rows"]):
                raise Error("%s: table %s has %d rows, the manifest says %s" % (spec, name, rows, table["rows"]))
        else:
            out.update(_dense(name, files, plan[name]))
    return out


# -- a replica: the shared library --


class _Version(ctypes.Structure):
    _fields_ = [(n, ctypes.c_uint64) for n in ("cut", "incarnation", "wall_us", "shown_us", "step", "records")] + [
        (n, ctypes.c_int) for n in ("shown", "pinned", "refused")
    ]


class _Table(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("dim", ctypes.c_uint32),
        ("sparse", ctypes.c_int),
        ("rows", ctypes.c_uint64),
        ("hash", ctypes.c_uint64),
    ]


class _Counts(ctypes.Structure):
    _fields_ = [
        (n, ctypes.c_uint64)
        for n in ("shown", "mismatched", "refused", "damaged", "resynced", "bytes", "fetched_bytes", "retried")
    ]


def _dict(s):
    return {name: getattr(s, name) for name, _ in s._fields_}


def _load(library):
    here = os.path.dirname(os.path.abspath(__file__))
    name = "libpenstock-replica.so.1"
    tried = [library] if library else [os.path.join(here, name), name]
    for path in tried:
        try:
            lib = ctypes.CDLL(path)
            break
        except OSError as e:
            why = e
    else:
        raise Error("can't load %s: %s" % (tried[-1], why))
    size, p, u64, text = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_char_p
    signatures = {
        "open": (ctypes.c_int, [text, ctypes.c_int, ctypes.c_double, ctypes.POINTER(p), text, size]),
        "close": (None, [p]),
        "version": (ctypes.c_int, [p, ctypes.POINTER(_Version)]),
        "versions": (size, [p, ctypes.POINTER(_Version), size]),
        "wait": (ctypes.c_int, [p, u64, ctypes.c_double, ctypes.POINTER(_Version)]),
        "pin": (ctypes.c_int, [p, u64, text, size]),
        "tables": (size, [p]),
        "table": (ctypes.c_int, [p, size, ctypes.POINTER(_Table), ctypes.POINTER(u64)]),
        "key": (ctypes.c_int, [p, text, text, size, ctypes.POINTER(u64)]),
        "lookup": (ctypes.c_int, [p, text, p, size, p, ctypes.POINTER(size), ctypes.POINTER(u64)]),
        "dense": (size, [p, text, p, size]),
        "score": (
            ctypes.c_int,
            [p, ctypes.POINTER(text), size, ctypes.POINTER(text), size, p, ctypes.POINTER(u64), text, size],
        ),
        "counts": (None, [p, ctypes.POINTER(_Counts)]),
    }
    for call, (result, arguments) in signatures.items():
        f = getattr(lib, "penstock_replica_" + call)
        f.restype, f.argtypes = result, arguments
    return lib


class Replica:
    """A model, held in this process. where: a run's folder or tcp://HOST:PORT, followed; with follow=False "DIR" or "DIR@k",
    loaded once. Any thread may call any method but close."""

    def __init__(self, where, follow=True, wait=30.0, library=None):
        self._lib, self._r = _load(library), ctypes.c_void_p()
        why = ctypes.create_string_buffer(1024)
        if self._lib.penstock_replica_open(
            os.fsencode(where), int(bool(follow)), wait, ctypes.byref(self._r), why, len(why)
        ):
            raise Error(why.value.decode(errors="replace"))

    def close(self):
        r, self._r = self._r, None
        if r:
            self._lib.penstock_replica_close(r)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def version(self):
        """What is shown now, a dict; None: nothing yet."""
        v = _Version()
        return _dict(v) if self._lib.penstock_replica_version(self._r, ctypes.byref(v)) == 0 else None

    def versions(self):
        """All that are kept, oldest first."""
        v = (_Version * 128)()
        return [_dict(v[i]) for i in range(self._lib.penstock_replica_versions(self._r, v, 128))]

    def wait(self, cut=0, seconds=30.0):
        """The version shown, as soon as it is another than `cut`; None when the time is up."""
        v = _Version()
        return _dict(v) if self._lib.penstock_replica_wait(self._r, cut, seconds, ctypes.byref(v)) == 0 else None

    def pin(self, cut):
        """Show this cut until unpin()."""
        why = ctypes.create_string_buffer(512)
        if self._lib.penstock_replica_pin(self._r, cut, why, len(why)):
            raise Error(why.value.decode(errors="replace"))

    def unpin(self):
        self.pin(0)

    def tables(self):
        """{name: {dim, sparse, rows, hash}} of the version shown."""
        out = {}
        for i in range(self._lib.penstock_replica_tables(self._r)):
            t = _Table()
            if self._lib.penstock_replica_table(self._r, i, ctypes.byref(t), None):
                raise Error("table %d can't be looked at" % i)
            d = _dict(t)
            out[d.pop("name").decode()] = d
        return out

    def keys(self, field, ids):
        """Keys (uint64) of ids, given as texts or numbers, as training made them from a log's cells of this field."""
        out, key = np.empty(len(ids), np.uint64), ctypes.c_uint64()
        for i, one in enumerate(ids):
            text = str(one).encode()
            if self._lib.penstock_replica_key(self._r, field.encode(), text, len(text), ctypes.byref(key)):
                raise Error("%s is no id field of the job" % field)
            out[i] = key.value
        return out

    def lookup(self, table, keys, unknown=False):
        """Rows of keys, float32 (n, dim). A key that training has never seen gets its initial row; unknown=True: (rows,
        how many those were)."""
        t = self.tables().get(table)
        if t is None or not t["sparse"]:
            raise Error("%s is no sparse table of the model" % table)
        keys = np.ascontiguousarray(keys, np.uint64)
        out, n = np.empty((len(keys), t["dim"]), np.float32), ctypes.c_size_t()
        if self._lib.penstock_replica_lookup(
            self._r, table.encode(), keys.ctypes.data, len(keys), out.ctypes.data, ctypes.byref(n), None
        ):
            raise Error("no version is shown yet")
        return (out, n.value) if unknown else out

    def dense(self, tensor):
        """A copy of a dense tensor, flat, by its name in the plan."""
        n = self._lib.penstock_replica_dense(self._r, tensor.encode(), None, 0)
        out = np.empty(n, np.float32)
        if n == 0 or self._lib.penstock_replica_dense(self._r, tensor.encode(), out.ctypes.data, n) != n:
            raise Error("%s: no such dense tensor, or no version is shown yet" % tensor)
        return out

    def score(self, columns):
        """Probabilities of records given as {field: list of cells}; None is a missing cell, and so is a field left out."""
        names, n = list(columns), max((len(c) for c in columns.values()), default=0)
        if any(len(c) != n for c in columns.values()):
            raise Error("columns differ in length")
        cells = (ctypes.c_char_p * (n * len(names)))()
        for f, name in enumerate(names):
            for i, cell in enumerate(columns[name]):
                cells[i * len(names) + f] = None if cell is None else str(cell).encode()
        fields = (ctypes.c_char_p * len(names))(*[name.encode() for name in names])
        out, why = np.empty(n, np.float32), ctypes.create_string_buffer(512)
        if self._lib.penstock_replica_score(
            self._r, fields, len(names), cells, n, out.ctypes.data, None, why, len(why)
        ):
            raise Error(why.value.decode(errors="replace"))
        return out

    def counts(self):
        c = _Counts()
        self._lib.penstock_replica_counts(self._r, ctypes.byref(c))
        return _dict(c)
