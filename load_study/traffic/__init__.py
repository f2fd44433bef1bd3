"""Open-loop load for inference: queries are sent when they are due, for any speed of the answers.

`arrivals` (due times), `sizes`, `clock` (real and virtual), `generator` (sends the queries), `ledger` (records them),
`result` and `latency` (figures and intervals of a load), `theory` (queueing theory). Engines are in
`load_study.engines`.
"""
