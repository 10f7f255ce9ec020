"""An evaluation as one HTML file that needs nothing else: what was measured on what, and where the models fail."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from lss_core.figures import curve_figure
from lss_core.grading.checkpoint import Card
from lss_core.training.evaluation import Evaluation, PairedTest, Performance, Rates
from lss_core.training.evaluation_figures import MEASURES, figures_of
from lss_core.training.evaluation_text import KINDS
from lss_core.training.failures import Failure
from lss_core.vocabulary import RESEARCH_USE, Grade, counted, unit_of

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c; max-width: 1080px; margin: 0 auto; padding: 0 16px 48px; }
.banner { background: #1c1c1c; color: #fff; padding: 10px 16px; margin: 0 -16px 16px; }
.banner { position: sticky; top: 0; z-index: 9; }
.statement { border-left: 4px solid #D55E00; padding: 6px 12px; background: #fdf3ea; }
table { border-collapse: collapse; margin: 12px 0; font-size: 13px; }
caption { text-align: left; font-weight: 600; padding: 4px 0; }
th, td { border-bottom: 1px solid #d8d8d8; padding: 3px 12px 3px 0; text-align: left; vertical-align: top; }
td { overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 16px; }
.gallery img { width: 100%; }
figure { margin: 0; } figcaption { font-size: 13px; }
"""
HOW = """Each scan is graded from end to end. A region that was not found, lies elsewhere, stands under another level's
name, was declined, or belongs to a refused scan is missed, and counts as wrong in accuracy, balanced accuracy,
macro-F1, sensitivity, specificity and the paired tests. Kappas, AC2, off-by rates, areas under curves,
calibration, sets and measures are of the regions found. Intervals are 95 % bootstraps over patients; a share of
0 or 1 has Wilson's interval with each patient as one trial; areas under curves have Obuchowski's (1997). The
ceiling is an observer who measures without bias but errs by half a pixel."""
Rows = Sequence[Sequence[str]]


def model_card_html(
    evaluations: Sequence[Evaluation], cards: Mapping[str, Card], *, failures: Sequence[Failure] = (),
    pictures: Path | None = None,
) -> str:
    """The whole page.

    Args:
        evaluations: Of one or several versions on the same scans.
        cards: By version.
        failures: Shown with their pictures, which lie in the folder `pictures`.
    """
    parts = [
        f'<div class="banner">{_text(RESEARCH_USE)}</div>', f"<h1>{_text(_title(evaluations))}</h1>",
        f'<p class="statement"><strong>{_text(evaluations[0].statement)}</strong></p>',
        *_models(evaluations, cards), "<h2>Summary</h2>", _summary(evaluations), f"<p>{_text(HOW)}</p>",
        *_comparisons(evaluations[0].comparisons),
    ]
    number = 0
    for evaluation in evaluations:
        for label, part in evaluation.parts().items():
            number += 1
            parts += [f"<h2>{_text(label)}, model {_text(evaluation.model_version)}</h2>",
                      *_performance(evaluation, part, label, number)]
    parts += [*_curves(evaluations, cards), *_gallery(failures, pictures, evaluations[0].statement)]
    head = f'<meta charset="utf-8"><title>{_text(_title(evaluations))}</title><style>{STYLE}</style>'
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}<script>{get_plotlyjs()}</script></head>\n'
        f"<body>\n{body}\n</body></html>\n"
    )


def _title(evaluations: Sequence[Evaluation]) -> str:
    return "Model card: " + ", ".join(evaluation.model_version for evaluation in evaluations)


def _text(value: object) -> str:
    return html.escape(str(value))


def _table(caption: str, head: Sequence[str], rows: Rows) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{_text(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f'<div class="wide"><table><caption>{_text(caption)}</caption>{line(head, "th")}{body}</table></div>'


def _plot(figure: go.Figure, name: str) -> str:
    return figure.to_html(
        full_html=False, include_plotlyjs=False, div_id=name, config={"displaylogo": False, "responsive": True}
    )


def _models(evaluations: Sequence[Evaluation], cards: Mapping[str, Card]) -> Iterator[str]:
    known = [cards[evaluation.model_version] for evaluation in evaluations]
    facts = {
        "made": [card.created for card in known], "trained on": [card.data for card in known],
        "network": [_listed(card.configuration) for card in known],
        "training": [_listed(card.training) for card in known],
        "calibration": [_listed(card.calibration) or "none" for card in known],
        "weights, SHA-256": [card.weights_sha256 for card in known],
        "intended use": [card.intended_use for card in known],
        "licence": [f"{card.licence}. {' '.join(card.attributions)}" for card in known],
    }
    yield "<h2>Models and data</h2>"
    yield _table("What they are", ["", *(card.name for card in known)], [[name, *each] for name, each in facts.items()])
    first = evaluations[0]
    yield f"<p>Evaluated on the set “{_text(first.set_name)}” of {counted(first.patients, 'patient')} " \
          f"(SHA-256 {_text(first.set_sha256[:16])}), of which {len(first.refused)} were refused.</p>"
    for evaluation in evaluations:
        if evaluation.refused:
            rows = [[each] for each in evaluation.refused]
            yield _table(f"Scans refused, {evaluation.model_version}", ["scan"], rows)


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _summary(evaluations: Sequence[Evaluation]) -> str:
    columns = {
        f"{evaluation.model_version}, {label.lower()}": _figures(part)
        for evaluation in evaluations for label, part in evaluation.parts().items()
    }
    names = next(iter(columns.values()))
    rows = [[name, *(column[name] for column in columns.values())] for name in names]
    return _table("Figures with 95 % intervals by patient", ["", *columns], rows)


def _figures(part: Performance) -> dict[str, str]:
    return {
        "regions (patients)": f"{part.regions} ({part.patients})",
        "prevalence of grades 0-3": ", ".join(str(count) for count in part.prevalence),
        "missed": f"{part.missed}: {part.missed_share}",
        "why missed": _listed(part.missed_reasons) or "-",
        "accuracy": str(part.accuracy),
        "ceiling of accuracy": "-" if part.ceiling is None else f"{part.ceiling.accuracy:.3f}",
        "balanced accuracy": str(part.balanced_accuracy),
        "macro-F1": str(part.macro_f1),
        "off by one": str(part.off_by_one),
        "off by two or three": str(part.off_by_two),
        "kappa, quadratic weights": str(part.quadratic_kappa),
        "ceiling of that kappa": "-" if part.ceiling is None else f"{part.ceiling.quadratic_kappa:.3f}",
        "kappa, linear weights": str(part.linear_kappa),
        "kappa, unweighted": str(part.unweighted_kappa),
        "Gwet AC2, quadratic weights": str(part.gwet_ac2),
        "expected calibration error": str(part.calibration.expected_error),
        "Brier score (0 to 2)": str(part.calibration.brier),
        "sets that hold the grade": _sets(part),
        "mean size of a set": "-" if part.sets is None else str(part.sets.mean_size),
        "regions with a doubt": f"{part.doubts.regions}: {part.doubts.share}",
        "accuracy with a doubt": str(part.doubts.accuracy_with),
        "accuracy without": str(part.doubts.accuracy_without),
    }


def _sets(part: Performance) -> str:
    return "-" if part.sets is None else f"{part.sets.coverage}, made for {part.sets.stated:.2f}"


def _comparisons(comparisons: Sequence[PairedTest]) -> Iterator[str]:
    if not comparisons:
        return
    head = ["regions of", "versions", "n", "right alone", "difference of accuracy", "p", "p after Holm", "test"]
    rows = [
        [KINDS[t.kind], f"{t.first} minus {t.second}", str(t.regions),
         f"{t.only_first_right} and {t.only_second_right}", str(t.difference), f"{t.p_value:.3g}",
         f"{t.p_holm:.3g}", t.method]
        for t in comparisons
    ]
    yield _table("Versions compared on exactly the regions that both were asked", head, rows)


def _performance(evaluation: Evaluation, part: Performance, label: str, number: int) -> Iterator[str]:
    figures = figures_of(evaluation, part, label=label)
    yield _plot(figures["confusion"], f"confusion-{number}")
    yield _table("By grade, against all others", ["grade", "regions", "sensitivity", "specificity"], _grade_rows(part))
    yield _table("By cut", ["positive", "regions", "sensitivity", "specificity", "AUC"], _cut_rows(part))
    head = ["level", "regions", "missed", "accuracy", "balanced accuracy", "kappa, quadratic", "off by two or three"]
    yield _table("By level", head, _level_rows(part))
    yield _plot(figures["reliability"], f"reliability-{number}")
    yield _plot(figures["subgroups"], f"subgroups-{number}")
    if part.measures:
        head = ["measure", "regions", "median |error|", "90 % within", "bias", "limits of agreement"]
        yield _table("Measurement error, with 95 % intervals by patient", head, _measure_rows(part))
    for name in part.measures:
        yield _plot(figures[name], f"{name}-{number}")
    if part.missed_regions:
        rows = [
            [m.patient, m.level, m.region.replace("_", " "), str(m.grade), m.why, m.reason] for m in part.missed_regions
        ]
        yield _table("Regions missed", ["scan", "level", "region", "reference", "why", "reason"], rows)


def _grade_rows(part: Rates) -> Rows:
    return [
        [f"{r.grade} {Grade(r.grade).label}", str(r.regions), str(r.sensitivity), str(r.specificity)]
        for r in part.grades
    ]


def _cut_rows(part: Rates) -> Rows:
    return [
        [f"grade >= {r.cut}", str(r.positives), str(r.sensitivity), str(r.specificity), str(r.auc)]
        for r in part.cuts
    ]


def _level_rows(part: Performance) -> Rows:
    return [
        [level, str(rates.regions), str(rates.missed), str(rates.accuracy), str(rates.balanced_accuracy),
         str(rates.quadratic_kappa), str(rates.off_by_two)]
        for level, rates in part.levels.items()
    ]


def _measure_rows(part: Performance) -> Rows:
    return [
        [f"{MEASURES[name]} ({unit_of(name)})", str(error.regions), str(error.median_absolute),
         str(error.p90_absolute), str(error.bias), f"{error.lower_limit} to {error.upper_limit}"]
        for name, error in part.measures.items()
    ]


def _curves(evaluations: Sequence[Evaluation], cards: Mapping[str, Card]) -> Iterator[str]:
    curves = {e.model_version: cards[e.model_version].metrics.get("curve") or () for e in evaluations}
    if any(curves.values()):
        yield "<h2>Training</h2>"
    for number, (version, curve) in enumerate(curves.items()):
        if curve:
            measured_on = f"On validation data of a model {cards[version].data}."
            yield _plot(curve_figure(curve, title=f"Training of {version}", measured_on=measured_on), f"curve-{number}")


def _gallery(failures: Sequence[Failure], pictures: Path | None, statement: str) -> Iterator[str]:
    if not failures or pictures is None:
        return
    yield f"<h2>The worst errors</h2><p>{_text(statement)}</p><div class=\"gallery\">"
    for failure in failures:
        content = base64.b64encode((pictures / failure.picture).read_bytes()).decode()
        words = f"{failure.model_version}, {failure.level} {failure.region.replace('_', ' ')}: reference " \
                f"{failure.reference}, graded {failure.predicted} (expected {failure.expected_grade:.2f})"
        doubts = " ".join(failure.doubts) or "No doubt was raised."
        yield f'<figure><img alt="{_text(words)}" src="data:image/png;base64,{content}">' \
              f"<figcaption>{_text(words)}. {_text(doubts)}</figcaption></figure>"
    yield "</div>"
