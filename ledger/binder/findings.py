"""Chapters of the report on everything around the trading: incidents, clock, models, tax."""

from __future__ import annotations

from typing import Any

from ledger.binder.anchors import fingerprint_of
from ledger.binder.chapters import rest
from ledger.binder.contents import Contents
from ledger.binder.gather import Listed
from ledger.binder.models import NOT_FOR, ModelFacts
from ledger.binder.paper import BAD, SOFT, Column, Paper

_ANCHORS_MAX = 100
"""Anchors told one by one, the newest."""


def incidents(paper: Paper, contents: Contents) -> None:
    gathered = contents.gathered
    paper.heading("Kills, halts, recoveries, refused commands, changes of mode")
    _told(paper, gathered.incidents, "None in this range.")
    paper.heading("Feeds that were not live")
    _told(paper, gathered.feeds, "None in this range.")


def clock(paper: Paper, contents: Contents) -> None:
    gathered = contents.gathered
    paper.words(
        "Green: the system claims to be within 1 ms of UTC. Amber: within 50 ms. Red: worse, or "
        "not synchronized. The order of events does not depend on it."
    )
    if not gathered.clock.count:
        paper.words(
            "No reading of the clock's quality was recorded in this range: the times are this "
            "machine's own (in a replay the recording's), of unknown quality.",
            color=BAD,
        )
        return
    paper.grid(
        [Column("Tier", 40), Column("Readings", 30, True)],
        [(tier, f"{count:,}") for tier, count in sorted(gathered.tiers.items())],
        width=0.4,
    )
    _told(paper, gathered.clock, "")


def witnesses(paper: Paper, contents: Contents) -> None:
    """Say which keys signed, and what outsiders attest."""
    paper.heading("Keys")
    rotated = contents.gathered.rotated
    since = [("1", "the first")]
    since += [(f"{tree['seq']}", tree["payload"]["reason"]) for tree in rotated]
    names = [fingerprint_of(tree["payload"]["old_key"]) for tree in rotated]
    names.append(contents.cover.fingerprint)
    paper.grid(
        [Column("From seq", 20, True), Column("Fingerprint", 70), Column("Why it came", 70)],
        [(seq, name, why) for (seq, why), name in zip(since, names, strict=True)],
    )
    paper.words(
        "Each key signed the event that hands over to the next one, and so did the next one: "
        "whoever knows an older fingerprint can check this binder by it."
    )
    paper.heading("Attested by somebody outside")
    if not contents.anchored:
        paper.words("None of the checkpoints of this range.")
        return
    paper.words(
        "Only the SHA-256 of a checkpoint was sent. What is said here was checked when the binder "
        "was made; README.txt says how to check it again without this program."
    )
    paper.grid(
        [Column("Seq", 14, True), Column("What it says", 146)],
        [(f"{seq}", text) for seq, text in contents.anchored[-_ANCHORS_MAX:]],
    )
    rest(paper, len(contents.anchored), min(len(contents.anchored), _ANCHORS_MAX), "events.jsonl")


def accounts(paper: Paper, contents: Contents) -> None:
    """Say what was compared with the venue, and what opened a run."""
    _told(
        paper,
        contents.gathered.accounts,
        "No comparison with a venue was recorded in this range. A paper venue lives in the same "
        "process; what it forgets with it is told as RECOVERED under Incidents.",
    )


def models(paper: Paper, contents: Contents) -> None:
    if not contents.models:
        paper.words("No model had a say in these runs.")
    for model in contents.models:
        paper.heading(model.agent_id)
        if model.card is None:
            paper.words(
                "The runs used a model of this name, but when the binder was made its files were "
                "not there, or not of a form that this program reads: no card is tied to it.",
                color=BAD,
            )
            paper.facts([("Weights used", model.weights_used)])
        else:
            _card(paper, model, model.card)
    paper.heading("Market data of the runs")
    recorded = contents.gathered.recorded
    if not recorded:
        paper.words("No recording was finished in this range; runs/ names what each run read.")
        return
    paper.grid(
        [Column("Seq", 14, True), Column("Kind", 18), Column("Name", 56),
         Column("Bytes", 22, True), Column("SHA-256", 60)],
        [(f"{each['seq']}", each["kind"], each["name"], f"{each['size_bytes']:,}", each["digest"])
         for each in recorded],
    )  # fmt: skip


def _card(paper: Paper, model: ModelFacts, card: dict[str, Any]) -> None:
    tied = "tied: card, weights and training data have the digests that the runs named"
    loose = "NOT TIED: a digest below differs"
    paper.words(tied if model.is_tied else loose, color=SOFT if model.is_tied else BAD)
    paper.facts(
        [
            ("Used in the runs", model.weights_used),
            ("Weights found", model.weights_found),
            ("Weights in the card", card["weights_sha256"]),
            ("Training data", card["market"]["market_sha256"]),
            ("Made again at export", model.data_found or "not possible here"),
            ("Trained", f"{card['algo'].upper()}, seed {card['seed']} of "
                        f"{', '.join(str(each['seed']) for each in card['seeds'])}"),
            ("Hyperparameters", _pairs(card["training"])),
            ("Versions", _pairs(card["versions"])),
            ("Measured", card["summary"]),
            ("Intended use", f"A view beside the signals. {NOT_FOR}"),
        ]
    )  # fmt: skip
    test = next(each["test"] for each in card["seeds"] if each["seed"] == card["seed"])
    scores = [(f"this model ({test['name']})", test)]
    scores += [(each["name"], each) for each in card["baselines"]]
    paper.grid(
        [
            Column("Held-out markets", 50), Column("bps an hour", 22, True),
            Column("95 % interval", 36, True), Column("Turnover/h", 22, True),
            Column("Flat", 18, True),
        ],
        [
            (
                name, f"{each['pnl_bps_per_hour']:+,.2f}",
                f"{each['pnl_low']:+,.2f} to {each['pnl_high']:+,.2f}",
                f"{each['turnover_per_hour']:,.2f}", f"{each['flat_share']:.1%}",
            )
            for name, each in scores
        ],
    )  # fmt: skip


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(values.items()))


def tax(paper: Paper, contents: Contents) -> None:
    paper.words(
        "Not tax advice. First in, first out by wallet (one account at each venue), unless an "
        "order chose its lots before it left; cents appear in tax/ only, the ledger is exact."
    )
    for year, notes in contents.tax:
        paper.heading(str(year))
        paper.points(notes)


def appendix(paper: Paper, contents: Contents) -> None:
    paper.words(
        "The signed manifest.json has every file with its whole SHA-256, this report and those of "
        "anchors/, payloads/, runs/ and schemas/ included. "
        "Longer texts and characters that these fonts do not have are exact in events.jsonl."
    )
    paper.grid(
        [Column("File", 70), Column("Bytes", 24, True), Column("SHA-256, first half", 62)],
        [
            (name, f"{size:,}", digest[:32])
            for name, size, digest in contents.files
            if not name.startswith(("#", "anchors/", "payloads/", "runs/", "schemas/"))
        ],
    )
    paper.heading("Events by type")
    paper.grid(
        [Column("Type", 60), Column("Events", 30, True)],
        [(kind, f"{count:,}") for kind, count in sorted(contents.gathered.types.items())],
        width=0.5,
    )


def _told(paper: Paper, listed: Listed, nothing: str) -> None:
    if not listed.count:
        paper.words(nothing)
        return
    paper.grid(
        [Column("Seq", 14, True), Column("Time (UTC)", 30), Column("What", 32), Column("Who", 26),
         Column("In its fields", 80)],
        [
            (f"{each.seq}", each.ts[:19].replace("T", " "), each.type, each.actor, each.text)
            for each in listed.items
        ],
    )  # fmt: skip
    rest(paper, listed.count, len(listed.items), "events.jsonl")
