"""Defects of the state store and of what makes values small."""

from __future__ import annotations

from falsification.kit.saboteur import mutant

CODEC, STORE, FRAMES = "duende/state/codec.py", "duende/state/store.py", "duende/state/frames.py"
GPU = "duende/state/gpu.py"

mutant(
    "values-are-kept-raw",
    breaks="nothing is compressed",
    file=CODEC,
    old="    if size < SMALL:\n",
    new="    if size >= 0:\n",
)
mutant(
    "values-are-kept-twice",
    breaks="the plain value stays in memory beside the compressed one",
    file=CODEC,
    old="    size, check = len(value), zlib.crc32(value)\n",
    new='    size, check = len(value), zlib.crc32(value)\n    globals().setdefault("_KEPT", []).append(value)\n',
)
mutant(
    "values-lose-their-end",
    breaks="the last byte of a compressed value is another",
    file=CODEC,
    old="    if len(value) != size or zlib.crc32(value) != check:\n",
    new='    if codec == Codec.LZ4:\n        return value[:-1] + b"?"\n    if len(value) != size or zlib.crc32(value) != check:\n',
)
mutant(
    "zero-pages-go-to-lz4",
    breaks="a page of one byte is compressed like any other",
    file=CODEC,
    old="    if first == value[-1] == value[size // 2] and value == value[:1] * size:\n",
    new="    if first == value[-1] == value[size // 2] and value is None:\n",
)
mutant(
    "same-fill-keeps-eight-bytes",
    breaks="the pattern of a page is kept as a word of eight bytes",
    file=CODEC,
    old="bytes((Codec.SAME, first)))",
    new="bytes((Codec.SAME, first)) + bytes(6))",
)
mutant(
    "same-fill-looks-at-the-ends",
    breaks="a page whose first, middle and last byte agree is taken for one of that byte",
    file=CODEC,
    old="    if first == value[-1] == value[size // 2] and value == value[:1] * size:\n",
    new="    if first == value[-1] == value[size // 2]:\n",
)
mutant(
    "lz4-takes-its-time",
    breaks="LZ4 looks for the best match everywhere",
    file=CODEC,
    old="compress(block, store_size=False)",
    new='compress(block, store_size=False, mode="high_compression")',
)
mutant(
    "lz4-forgets-the-end",
    breaks="the last byte of a block is not compressed with it",
    file=CODEC,
    old="compress(block, store_size=False)",
    new='compress(block[:-1] + b"?", store_size=False)',
)
mutant(
    "zstandard-takes-its-time",
    breaks="Zstandard takes its slowest level",
    file=CODEC,
    old="_compressor(level).compress(block)",
    new="_compressor(19).compress(block)",
)
mutant(
    "zstandard-copies",
    breaks="what is called compressed is a copy in a frame",
    file=CODEC,
    old="    compressed: bytes = _compressor(level).compress(block)\n",
    new='    compressed = b"".join((b"\\x28\\xb5\\x2f\\xfd\\x20", bytes(1), block))\n',
)
mutant(
    "vector-build-is-not-optimised",
    breaks="the build with vector registers is compiled without optimisation",
    file="fixtures/pages/build.py",
    old='"simd": ("-O3", "-march=native"),',
    new='"simd": ("-O0", "-march=native"),',
)
mutant(
    "commits-stay-in-memory",
    breaks="a commit is told to be done and is written with the next",
    file=STORE,
    old="            write_all(self._log, data, self._end)\n",
    new='            late = getattr(self, "_late", (b"", 0))\n            write_all(self._log, *late)\n            self._late = (data, self._end)\n',
)
mutant(
    "refused-writes-are-kept-in-memory",
    breaks="a commit that the disk refused is told to be done",
    file=STORE,
    old='            raise DaemonIOError.of("write the state to", path, error, FULL) from error\n',
    new="            data = b''\n",
)
mutant(
    "refused-writes-are-not-taken-back",
    breaks="half a frame stays in the log, and later commits stand behind it",
    file=STORE,
    old="            os.ftruncate(self._log, self._end)\n        except",
    new="            self._end = os.fstat(self._log).st_size\n        except",
)
mutant(
    "a-full-disk-is-not-told",
    breaks="a journal that cannot be written is nobody's business",
    file="duende/manager/journal.py",
    old='            self.trouble = f"cannot write {self.path}: {error.strerror or error}"\n',
    new="",
)
mutant(
    "gpu-compresses-one-by-one",
    breaks="every page goes to the GPU and back alone, several times",
    file=GPU,
    old="        return [self._numpy.asarray(block.cpu()).tobytes() for block in self._codec.encode(there)]\n",
    new="        return [\n            self._numpy.asarray([self._codec.encode([one]) for _ in range(8)][-1][0].cpu()).tobytes() for one in there\n        ]\n",
)
mutant(
    "gpu-mixes-up-the-batch",
    breaks="blocks come back in another order",
    file=GPU,
    old="for block in self._codec.encode(there)]\n",
    new="for block in self._codec.encode(there)[::-1]]\n",
)
