"""How fast and how small duende's manager is beside other supervisors: `python -m bench`.

`counter` and `tiny.c` see every start from outside, `procs` reads what a tree of processes costs, `peers`
start each supervisor the same way, `figures` measures one life of one of them, `rounds` interleaves all,
`table` prints.
`platforms` makes the same call through duende's adapter, the raw API, a library and the command line of Docker and of
systemd; `calls` prints that.
`start_cost` is a bench of its own: what starting a Python daemon costs.
"""
