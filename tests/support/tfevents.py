#!/usr/bin/env python3
"""tfevents.py DIR: read TensorBoard event files by hand and print "tag step value" lines, in their order.

Framing and both checksums of each record are checked; a record that doesn't fit ends it with 1. With the tensorboard
package installed its own reader must find the same tags; the last line says which readers agreed.
"""
import glob
import os
import struct
import sys


def crc32c(data):
    c = 0xFFFFFFFF
    for byte in data:
        c ^= byte
        for _ in range(8):
            c = c >> 1 ^ (0x82F63B78 if c & 1 else 0)
    return c ^ 0xFFFFFFFF


def masked(data):
    c = crc32c(data)
    return ((c >> 15 | c << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(b, at):
    value = shift = 0
    while True:
        value |= (b[at] & 127) << shift
        shift += 7
        at += 1
        if b[at - 1] < 128:
            return value, at


def fields(b):
    at = 0
    while at < len(b):
        key, at = varint(b, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(b, at)
        elif kind == 2:
            n, at = varint(b, at)
            value, at = b[at:at + n], at + n
        else:
            n = {1: 8, 5: 4}[kind]
            value, at = struct.unpack("<d" if n == 8 else "<f", b[at:at + n])[0], at + n
        yield key >> 3, value


def records(path):
    data = open(path, "rb").read()
    at = 0
    while at < len(data):
        n, crc = struct.unpack("<QI", data[at:at + 12])
        assert crc == masked(data[at:at + 8]), "%s: length checksum at byte %d" % (path, at)
        body = data[at + 12:at + 12 + n]
        assert len(body) == n, "%s: cut off at byte %d" % (path, at)
        assert struct.unpack("<I", data[at + 12 + n:at + 16 + n])[0] == masked(body), "%s: checksum at byte %d" % (path, at)
        at += 16 + n
        yield body


def main(folder):
    tags = set()
    files = sorted(glob.glob(os.path.join(folder, "events.out.tfevents.*")))
    assert files, folder + ": no event file"
    for path in files:
        for i, body in enumerate(records(path)):
            event = dict(fields(body))
            assert 1e9 < event[1] < 1e10, "wall time"
            if i == 0:
                assert event[3] == b"brain.Event:2", "the first record is the version"
            if 5 in event:
                for field, value in fields(event[5]):
                    assert field == 1
                    value = dict(fields(value))
                    print(value[1].decode(), event.get(2, 0), value[2])
                    tags.add(value[1].decode())
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        print("# read by hand")
        return
    reader = EventAccumulator(folder)
    reader.Reload()
    assert set(reader.Tags()["scalars"]) == tags, (reader.Tags(), tags)
    print("# read by hand and by tensorboard")


main(sys.argv[1])
