"""Shadow traffic: a candidate answers a share of the real requests beside the served version; its answers are not sent.

settings    what is shadowed, and the files of the reports
tally       agreement, latency and errors
hook        in the backend of the served version: passes requests on, counts
worker      the process that runs the candidate
"""
