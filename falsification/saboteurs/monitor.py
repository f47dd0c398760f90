"""Defects of the monitor."""

from __future__ import annotations

from falsification.kit.saboteur import mutant

PROCFS, MONITOR, TURNS = "duende/observe/procfs.py", "duende/observe/monitor.py", "duende/observe/turns.py"
TREE, DISK, GPU = "duende/observe/tree.py", "duende/observe/diskuse.py", "duende/observe/gpu.py"

mutant(
    "memory-counts-pages-of-4000",
    breaks="a page is taken for 4000 bytes",
    file=PROCFS,
    old="        return int(words[1]) * PAGE\n",
    new="        return int(words[1]) * 4000\n",
)
mutant(
    "memory-is-of-the-first-sample",
    breaks="memory is that of the look before",
    file=MONITOR,
    old="        float(now.rss_bytes),\n",
    new="        float((before or now).rss_bytes),\n",
)
mutant(
    "cpu-leaves-out-the-system",
    breaks="only the time in user mode counts",
    file=PROCFS,
    old="(int(rest[11]) + int(rest[12])) / TICK",
    new="int(rest[11]) / TICK",
)
mutant(
    "cpu-is-over-the-whole-life",
    breaks="CPU is reckoned since the first look, not since the last",
    file=MONITOR,
    old="            watched.before = now\n",
    new="            pass\n",
)
mutant(
    "interval-drifts",
    breaks="the next turn is an interval after the end of this one",
    file=TURNS,
    old="            turn += self.interval\n            left = turn",
    new="            turn = time.monotonic() + self.interval\n            left = turn",
)
mutant(
    "interval-is-stretched",
    breaks="turns come an eighth later than they should",
    file=TURNS,
    old="            turn += self.interval\n            left = turn",
    new="            turn += 1.125 * self.interval\n            left = turn",
)
mutant(
    "disk-use-is-by-length",
    breaks="a file takes what its length says, whatever is written of it",
    file=DISK,
    old="        total += about.st_blocks * BLOCK\n",
    new="        total += about.st_size\n",
)
mutant(
    "disk-use-counts-every-name",
    breaks="a file of several names is counted by each",
    file=DISK,
    old="        if key in seen:\n",
    new="        if key in seen and False:\n",
)
mutant(
    "no-gpu-is-an-error",
    breaks="the package that is not there is told to whoever asks",
    file=GPU,
    old="    except ImportError:\n        return None\n",
    new="    except ImportError:\n        raise\n",
)
mutant(
    "no-gpu-is-an-idle-one",
    breaks="a machine without a GPU has one that does nothing",
    file=GPU,
    old="    except ImportError:\n        return None\n",
    new='    except ImportError:\n        return [GpuSample(0, "", 0.0, 0, 0)]\n',
)
mutant(
    "tree-has-no-grandchildren",
    breaks="only the direct children are found",
    file=TREE,
    old="tuple(made(child, inside) for child in found)",
    new="tuple(Node(child, table[child], ()) for child in found)",
)
mutant(
    "tree-goes-by-sessions",
    breaks="the leader of the session is taken for the parent",
    file=TREE,
    old="below.setdefault(stat.ppid, [])",
    new="below.setdefault(stat.session, [])",
)
mutant(
    "threads-are-those-of-the-start",
    breaks="threads are those of the look before",
    file=MONITOR,
    old="        float(now.threads),\n",
    new="        float((before or now).threads),\n",
)
mutant(
    "threads-without-the-first",
    breaks="the main thread is not counted",
    file=PROCFS,
    old="            int(rest[17]),\n",
    new="            int(rest[17]) - 1,\n",
)
mutant(
    "gpu-use-is-not-asked",
    breaks="a GPU is told without its utilisation",
    file="duende/observe/gpu.py",
    old="        None if rates is None else float(rates.gpu),\n",
    new="        None,\n",
)
mutant(
    "gpu-memory-is-the-whole",
    breaks="the memory in use is told as all the card has",
    file="duende/observe/gpu.py",
    old="        None if memory is None else int(memory.used),\n",
    new="        None if memory is None else int(memory.total),\n",
)
