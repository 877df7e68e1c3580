"""The page of the tables."""

from markupsafe import Markup

from hmsa_jax.ablation import results as results_lib
from hmsa_jax.ablation.results import Results
from hmsa_jax.ablation.tables import TABLES
from hmsa_jax.report import charts
from hmsa_jax.report.page import page, table


def render(results: Results, foot: str) -> str:
    """The text of the page.

    Args:
      results: what is known of the tables.
      foot: who made it.
    """
    sections = [
        page.Section(f"table-{number}", each.title, _pieces(results, each))
        for number, each in enumerate(TABLES, 1)
    ]
    rows = results_lib.claims_cells(results)
    if rows:
        shown = table.table("Claims of the paper", results_lib.CLAIMS_HEAD, rows, names=1)
        notes = [page.text(note) for note in results_lib.notes(results)]
        sections.append(page.Section("claims", "Claims", [shown, *notes]))
    lead = "The paper's tables in miniature"
    return page.render("Ablation", sections, lead=lead, foot=foot)


def _pieces(results: Results, each: results_lib.Table) -> list[Markup]:
    head, rows = results_lib.head(each), results_lib.cells(results, each)
    figures = {row: figure for row in each.rows if (figure := results.figure(row)) is not None}
    bars = [
        charts.Row(f"{row.title} {row.protocol.partition(':')[2]}", [100 * figure.mean])
        for row, figure in figures.items()
    ]
    drawn = [charts.bars(f"{each.title}: mean IoU, %", ["mean IoU"], bars)] if bars else []
    words = page.text(f"The paper's figures are of {each.paper}.")
    return [table.table(each.title, head, rows, names=2), words, *drawn]
