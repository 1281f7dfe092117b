"""Subcommand ``calibrate``: error rates and threshold on the operator's own gallery."""

from __future__ import annotations

from pathlib import Path

import click

from kdkit.cli.face.opening import ACTOR, opened


@click.command(name="calibrate")
@click.option(
    "--far",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.001,
    show_default=True,
    help="Share of pairs of two people that may pass.",
)
@click.option("--set", "use", is_flag=True, help="Use the threshold from now on.")
@click.pass_obj
def calibrate(folder: Path, far: float, use: bool) -> None:
    """Measure the gallery: error rates with intervals, and the threshold for a wanted FAR."""
    with opened(folder) as (home, networks):
        from kd_face import audit, spaces
        from kd_face.gallery_report import gallery_rows, report
        from kd_face.recognition import Rule, set_rule

        with home.read() as session:
            model = spaces.require_active(session, networks.embedder)
            rows, people, total = gallery_rows(session, model)
        found = report(rows, people, far)
        sampled = f" of {total:,}" if total > found.pictures else ""
        click.echo(f"{found.people:,} people, {found.pictures:,}{sampled} pictures")
        click.echo(f"threshold           {found.threshold:.4f}")
        for name, share in (
            ("FAR", found.far),
            ("FRR", found.frr),
            ("strangers accepted", found.accepted_strangers),
            ("rank-1", found.rank_1),
        ):
            low, high = share.interval
            click.echo(f"{name:18}  {share.value:.3%}  [{low:.3%}, {high:.3%}]  of {share.total:,}")
        low, high = found.eer_interval
        click.echo(f"EER                 {found.eer:.3%}  [{low:.3%}, {high:.3%}]")
        for warning in found.warnings:
            click.echo(f"note: {warning}")
        if use:
            with home.write() as session:
                set_rule(session, networks, Rule(found.threshold))
                audit.append(session, ACTOR, "rule.set", {"threshold": found.threshold})
            click.echo("The threshold is in use.")
