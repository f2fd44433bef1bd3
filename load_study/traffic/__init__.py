"""Open-loop load for inference: queries go out when they are due, however slow the answers are.

Lives here: when queries come (arrivals), how large they are (sizes), who sends them and keeps the books (generator,
ledger, load), how latencies are summed up (latency), simulated engines and
their theory (servers, profile, theory), and the
cutting of large queries (split). Not here: real engines, the command line, the search for the best setting.
"""
