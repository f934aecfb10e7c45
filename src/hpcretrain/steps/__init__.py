"""The steps of the cycle, one a record: gather through ports, call one policy, append, act.

Every step is a function of the history, the clock and what is stored, so a tick that was cut short is simply taken
again: records that are in the ledger already must come out the same, and acts that were done are found done.
"""
