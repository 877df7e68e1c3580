"""The page of the tables."""

from markupsafe import Markup

from hmsa_jax.ablation import results as results_lib
from hmsa_jax.ablation.results import Results
from hmsa_jax.ablation.tables import TABLES, Table
from hmsa_jax.report import charts
from hmsa_jax.report.page import page, table


def render(results: Results, foot: str) -> str:
    """The text of the page.

    Args:
      results: what is known of the tables.
      foot: who made it.
    """
    facts = page.Section(
        "networks", "What the networks have in common", [page.facts(results.facts)]
    )
    sections = [facts] + [
        page.Section(f"table-{number}", each.title, _pieces(results, each))
        for number, each in enumerate(TABLES, 1)
    ]
    if results.verdicts:
        sections.append(page.Section("claims", "Claims", _claims(results)))
    if results.controls:
        rows = results_lib.controls_cells(results)
        shown = table.table("Controls of the attention", results_lib.CONTROLS_HEAD, rows)
        sections.append(page.Section("controls", "Controls", [shown]))
    sections += [page.Section("notes", "Notes", [page.items(results_lib.notes(results))])]
    return page.render("Ablation", sections, lead="The paper's tables in miniature", foot=foot)


def _pieces(results: Results, each: Table) -> list[Markup]:
    if not results.is_scored(each):
        return [page.text(results_lib.UNSCORED)]
    head, rows = results_lib.head(each), results_lib.cells(results, each)
    drawn = [
        charts.Interval(
            f"{row.title} {row.protocol.partition(':')[2]}",
            100 * figure.mean,
            (100 * figure.ends[0], 100 * figure.ends[1]),
            [100 * value for value in figure.by_seed.values()],
        )
        for row in each.rows
        if (figure := results.figure(row)) is not None
    ]
    return [
        table.table(each.title, head, rows, names=2),
        charts.intervals(f"{each.title}: mean IoU, %", drawn),
        page.text(f"The paper's figures are of {each.paper}."),
    ]


def _claims(results: Results) -> list[Markup]:
    drawn = [
        charts.Interval(
            verdict.claim.brief,
            100 * verdict.difference.mean,
            (100 * verdict.difference.ends[0], 100 * verdict.difference.ends[1]),
            [100 * value for value in verdict.difference.by_seed.values()],
            verdict.word,
        )
        for verdict in results.verdicts
    ]
    rows = results_lib.claims_cells(results)
    return [
        table.table("What the paper claims", results_lib.CLAIMS_HEAD, rows, names=1),
        charts.intervals("Difference of the mean IoUs, points", drawn, has_zero=True),
    ]
