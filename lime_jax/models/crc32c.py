"""The CRC-32C checksum (Castagnoli) that TensorFlow stores beside every block and tensor."""

import numpy as np

_POLYNOMIAL = 0x82F63B78  # reflected
# The four bytes that take a register of zeros to the all-ones state in which the checksum starts.
_PRESET = bytes.fromhex("54641f64")


def _byte_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> 1) ^ np.where(table & 1, np.uint32(_POLYNOMIAL), np.uint32(0))
    return table


_TABLE = _byte_table()


def crc32c(data: bytes | memoryview) -> int:
    """Returns the CRC-32C of `data`, in NumPy alone (some 70 MB/s).

    The register is linear over GF(2) and leading zero bytes leave a register of zeros alone. So the
    bytes are cut into lanes that are read side by side, and neighbours are joined by shifting the
    left register past the length of the right lane, until one is left.
    """
    octets = np.frombuffer(_PRESET + bytes(data), np.uint8)
    num_lanes = 1 << len(octets).bit_length() // 2  # as many as each is long, about
    length = -(-len(octets) // num_lanes)
    lanes = np.zeros(num_lanes * length, np.uint8)
    lanes[len(lanes) - len(octets) :] = octets
    registers = _feed(np.zeros(num_lanes, np.uint32), lanes.reshape(num_lanes, length).T)

    basis = np.uint32(1) << np.arange(32, dtype=np.uint32)
    shift = _feed(basis, np.zeros((length, 32), np.uint8))
    while len(registers) > 1:
        registers = _apply(shift, registers[::2]) ^ registers[1::2]
        shift = _apply(shift, shift)
    return int(registers[0]) ^ 0xFFFFFFFF


def mask_crc(crc: int) -> int:
    """Returns a checksum as TensorFlow stores it, so that a checksum of checksums stays useful."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _feed(registers: np.ndarray, octets: np.ndarray) -> np.ndarray:
    """The registers after the bytes `(length, num_registers)`."""
    for column in octets:
        registers = _TABLE[(registers ^ column) & 0xFF] ^ (registers >> 8)
    return registers


def _apply(matrix: np.ndarray, registers: np.ndarray) -> np.ndarray:
    """A linear map of registers, given by what it makes of each of the 32 bits."""
    bits = registers[:, None] >> np.arange(32, dtype=np.uint32) & 1
    return np.bitwise_xor.reduce(bits * matrix, axis=1)
