"""What decides: states, messages, the machine, the record. Pure; imports only `jobs`, `schedules` and `errors`.

No trio, no clock, no randomness, no I/O: time and ids are arguments, so that every decision can be tested
synchronously and replayed.
"""
