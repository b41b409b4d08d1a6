"""The ``README.txt`` of a binder: what is in it and how to check it."""

from __future__ import annotations

CONTENTS = """\
TAPEWRIGHT EVIDENCE BINDER

Check it first. Python 3.9 or newer is enough; no network, no package, not this program:

    python3 verify.py
    python3 verify.py --fingerprint "1234 abcd ..."     the key, as you got it another way
    python3 verify.py --against FILE                    a checkpoint that you kept
    python3 verify.py PATH                              another folder, or a zip as it is

A verifier that lies beside what it verifies can be changed with it. Take verify.py from a copy
of the program that you trust (ledger/binder/verify.py), or read it: it is one file.

A second opinion on the signature, with OpenSSL:

    sed 1d ledger.pub > key.pem
    openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in manifest.json -sigfile manifest.sig

A time stamp of an authority, where there are some: verify.py names the three files of the newest,
and does not check the authority's signature. Get its CA from the authority itself, not from here:

    openssl ts -verify -in anchors/A.tsr -data anchors/B.txt -CAfile CA.pem

report.pdf            what a person reads first
events.jsonl          every event of the range, one a line: the exact bytes that are hashed
context.jsonl         events from outside that it leans on: runs, lots, changes of key, anchors
checkpoints.txt       every signed checkpoint (C2SP tlog-checkpoint)
ledger.pub            the public key, as a C2SP verifier key and in PEM; KEY_ROTATED has older ones
anchors/              checkpoints (.txt), and what outsiders answered for them: time stamps of
                      RFC 3161 (.tsr) with their CA (.pem), OpenTimestamps proofs (.ots)
proofs/range.json     the tree before the range, and from its end to the newest checkpoint
proofs/inclusion.jsonl    for single fills: that seq N is in the newest checkpoint (RFC 9162)
proofs/consistency.jsonl  that the newest checkpoint extends those from outside the range
schemas/              JSON Schema of every event type, and of the envelope around it
trades.csv            the fills; decisions.csv, orders.csv and lots.csv likewise
orders_rts24.csv      orders event by event, in the field order of a record modelled on RTS 24
tax/                  drafts of tax files by year; no tax advice
runs/                 what fixed each run: code, configuration, limits, models, seed, source
payloads/             what events name by its SHA-256: every decision point, one a line
payloads_removed.jsonl    only where a rule on disk space removed some: which event says so
cards/, models/       model cards (JSON and text), and the weights that they are of
attest/               training attestations: in-toto statements in signed DSSE envelopes
receipts/             receipts of replays: what was decided again, digest by digest
datasets/lineage.json where the data of runs and models came from, each step by its digest
manifest.json         every file with its SHA-256; manifest.sig is the key's signature of it

To hand out one fill alone: its line of events.jsonl, its line of proofs/inclusion.jsonl, the
newest checkpoint and the key. The hash of a line, without its line end, is
SHA-256(0x00 || line); seq N is leaf N - 1.
"""
