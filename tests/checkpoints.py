"""A writer of TensorFlow checkpoints."""

import numpy as np

MAGIC = 0xDB4775248B80FB57
DTYPES = {
    name: number
    for number, name in enumerate(
        "- float32 float64 int32 uint8 int16 int8 - complex64 int64 bool".split()
    )
} | {"uint16": 17, "complex128": 18, "float16": 19, "uint32": 22, "uint64": 23}


class CheckpointWriter:
    """Writes what TensorFlow would, in the least code; options make it wrong on purpose."""

    def __init__(self, *, rows_per_block=3, compression=0, header=None, entry=b"", crc=None):
        self.rows_per_block = rows_per_block
        self.compression = compression
        self.header = header
        self.entry = entry
        self.crc = crc or slow_crc32c

    def write(self, folder, stem, tensors, num_shards=1):
        shards = [bytearray() for _ in range(num_shards)]
        rows = {"": varint_field(1, num_shards) if self.header is None else self.header}
        for i, name in enumerate(sorted(tensors)):
            rows[name] = self.place(np.asarray(tensors[name]), shards, i % num_shards)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{stem}.index").write_bytes(self.table(rows))
        for i, shard in enumerate(shards):
            name = f"{stem}.data-{i:05d}-of-{num_shards:05d}"
            (folder / name).write_bytes(bytes(shard))

    def place(self, array, shards, shard):
        data = array.tobytes()
        dimensions = [bytes_field(2, varint_field(1, size)) for size in array.shape]
        message = (
            varint_field(1, DTYPES.get(array.dtype.name, 7))
            + bytes_field(2, b"".join(dimensions))
            + varint_field(3, shard)
            + varint_field(4, len(shards[shard]))
            + varint_field(5, len(data))
            + fixed32_field(6, self.masked_crc(data))
        )
        shards[shard] += data
        return message + self.entry

    def table(self, rows):
        names = sorted(rows)
        size = self.rows_per_block
        groups = [names[i : i + size] for i in range(0, len(names), size)]
        out = bytearray()
        handles = {
            group[-1]: self.append(out, block({name: rows[name] for name in group}))
            for group in groups
        }
        meta = self.append(out, block({}))
        index = self.append(out, block(handles))
        return bytes(out) + (meta + index).ljust(40, b"\0") + MAGIC.to_bytes(8, "little")

    def append(self, out, contents):
        handle = varint(len(out)) + varint(len(contents))
        contents += bytes([self.compression])
        out += contents + self.masked_crc(contents).to_bytes(4, "little")
        return handle

    def masked_crc(self, data):
        crc = self.crc(data)
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def block(rows):
    """Entries whose keys leave out what they share with the one before, restarting at every 2nd."""
    out, restarts, before = bytearray(), [], b""
    for i, (name, value) in enumerate(rows.items()):
        key = name.encode()
        shared = 0
        if i % 2 == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value))
        out += key[shared:] + value
        before = key
    numbers = [*(restarts or [0]), len(restarts or [0])]
    return bytes(out) + b"".join(number.to_bytes(4, "little") for number in numbers)


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def varint_field(number, value):
    return varint(number << 3) + varint(value) if value else b""  # zeros are left out


def bytes_field(number, value):
    return varint(number << 3 | 2) + varint(len(value)) + value


def fixed32_field(number, value):
    return varint(number << 3 | 5) + value.to_bytes(4, "little")


def slow_crc32c(data):
    crc = 0xFFFFFFFF
    for octet in bytes(data):
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
