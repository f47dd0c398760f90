"""Defects of the install scripts."""

from __future__ import annotations

from falsification.kit.saboteur import mutant

mutant(
    "script-always-restarts",
    breaks="every run takes itself for the first and restarts the service",
    file="duende/render/script.py",
    old="unit=@unit@\nchanged=0\n",
    new="unit=@unit@\nchanged=1\n",
)
mutant(
    "script-always-writes",
    breaks="a file that is in place is written again",
    file="duende/render/script.py",
    old='  if [ -f "$1" ] && [ ! -h "$1" ] &&',
    new='  if [ -f "$1" ] && [ -h "$1" ] &&',
)
mutant(
    "script-tells-its-pid",
    breaks="the output has the number of the process in it",
    file="duende/render/script.py",
    old='  printf \'%s: %s\\\\n\' "$program" "$1"\n}\n\ndie()',
    new='  printf \'%s[%s]: %s\\\\n\' "$program" "$$" "$1"\n}\n\ndie()',
)
mutant(
    "script-orders-by-hash",
    breaks="variables stand in an order that differs from process to process",
    file="duende/render/unit.py",
    old="for key, value in sorted(config.env.items())]",
    new="for key, value in sorted(config.env.items(), key=lambda pair: hash(pair[0]))]",
)
mutant(
    "script-leaves-a-word-unquoted",
    breaks="a variable is used without quotes",
    file="duende/render/script.py",
    old='    mkdir -p "$1"\n',
    new="    mkdir -p $1\n",
)
