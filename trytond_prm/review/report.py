# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import base64
from collections import defaultdict
from decimal import Decimal
from functools import partial
from itertools import groupby
from string import ascii_uppercase

from trytond.i18n import gettext
from trytond.ir.lang import get_parent_language
from trytond.pool import Pool
from trytond.report import report as lazy
from trytond.transaction import Transaction, without_check_access

from ..report import PDFReport
from ..tools import local_date
from . import chart, odt

FIGURES = [
    'gross_revenue', 'concessions', 'concession_rate', 'net_revenue',
    'buyback_principal', 'buyback_interest', 'buyback_paid',
    'imputed_revenue', 'actual',
    'target', 'attainment', 'weighted_pipeline', 'partners_lost',
    'interactions', 'tension_customer', 'tension_partner', 'tension_staff']
MONTHS = [
    'gross_revenue', 'concessions', 'net_revenue', 'buyback_paid',
    'imputed_revenue', 'target']
PHASES = [
    'monthly_gross_revenue', 'monthly_concessions',
    'monthly_imputed_revenue', 'weighted_pipeline', 'interactions',
    'tension_customer', 'tension_partner', 'tension_staff', 'partners_lost']
LEDGER = ['ledger_revenue', 'booked_concessions']
# What the report defines besides the figures, by model
DEFINITIONS = [
    ('prm.separation.phase', ['phase']),
    ('prm.separation.party', ['lost']),
    ('prm.separation.year', ['activity', 'cost']),
    ('prm.smoothing', ['level', 'smoothing']),
    ]
# The lines of the agreement with the ledger which are told one by one
_DIFFERENCES = 12


class ReviewReport(PDFReport):
    __name__ = 'prm.review'

    @classmethod
    def get_context(cls, records, header, data):
        pool = Pool()
        Currency = pool.get('currency.currency')
        FieldAccess = pool.get('ir.model.field.access')
        Cost = pool.get('prm.separation.cost')
        Finding = pool.get('prm.review.finding')
        Lang = pool.get('ir.lang')
        Milestone = pool.get('prm.separation.milestone')
        Phase = pool.get('prm.separation.phase')
        Review = pool.get('prm.review')
        context = super().get_context(records, header, data)
        review = Review(context['record'].id)
        lang = Lang.get()
        access = FieldAccess.get_access(['prm.review'])['prm.review']
        staff = (
            access.get('tension_staff', {}).get('read', True)
            and not Transaction().context.get('without_staff'))
        names = [n for n in FIGURES if staff or n != 'tension_staff']
        definitions = Review.fields_get([
                *FIGURES, *LEDGER, 'tension', 'net_difference',
                'actual_difference', 'unexplained'])
        labels = {n: d['string'] for n, d in definitions.items()}

        def selection(Model, name):
            return dict(Model.fields_get([name])[name]['selection'])

        def money(value, digits=None, currency=None):
            if value is None:
                return '–'
            return lang.currency(
                value, Currency(currency) if currency else review.currency,
                grouping=True, digits=digits)

        def units(value, currency=None):
            return money(Decimal(round(value)), 0, currency)

        def percent(value):
            if value is None:
                return '–'
            return lang.format_number(100 * Decimal(str(value)), 1) + '\u00a0%'

        def date(value):
            return lang.strftime(value) if value else '–'

        def month(value):
            return value.strftime('%m/%Y')

        def show(name, value):
            if value is None:
                return '–'
            if name in {'interactions', 'partners_lost'}:
                return lang.format_number(value)
            if is_rate(name):
                return percent(value)
            return money(value)

        def is_rate(name):
            field = getattr(Review, name)._field
            return (
                field._type == 'numeric' and not hasattr(field, 'currency'))

        def show_change(name, value):
            if value is not None and is_rate(name):
                return gettext(
                    'prm.msg_review_points',
                    number=lang.format_number(100 * value, 1))
            return show(name, value)

        def figure(name):
            value = getattr(review, name)
            compared = getattr(review, f'compare_{name}')
            change = None
            if value is not None and compared is not None:
                change = value - compared
            return (
                labels[name], show(name, value), show(name, compared),
                show_change(name, change))

        months = review.all_months
        document = cls._translated(review.document, lang)
        context.update(
            review=review, document=document, lang=lang,
            labels=labels, months=months, month_names=MONTHS,
            definitions=[
                *((labels[n], definitions[n]['help'])
                    for n in [*LEDGER, *names]),
                *cls._definitions()],
            closed_on=review.closed_at and local_date(
                review.closed_at, review.company),
            separation=cls._separation(review, document),
            differences=cls._differences(review, labels),
            money=money, percent=percent, date=date, month=month, show=show,
            figures=[figure(n) for n in names], number=lang.format_number,
            kinds=selection(Milestone, 'kind'),
            phases=[
                (*key, list(phases)) for key, phases in groupby(
                    document['phases'],
                    key=lambda p: (p['separation'], p['party']))],
            letters=dict(zip(
                    range(len(document['milestones'])), ascii_uppercase)),
            phase_names=[
                n for n in PHASES if staff or n != 'tension_staff'],
            phase_labels={
                n: d['string'] for n, d in Phase.fields_get(PHASES).items()},
            phase_kinds=selection(Phase, 'phase'),
            states=selection(Review, 'state'),
            cost_kinds=selection(Cost, 'kind'),
            lost={
                i: list(rows) for i, rows in groupby(
                    document['parties'], key=lambda p: p['separation'])},
            years={
                i: list(rows) for i, rows in groupby(
                    document['years'], key=lambda y: y['separation'])},
            exposures=cls._exposures(document),
            pipeline=cls._pipeline(document),
            finding_kinds=selection(Finding, 'kind'),
            findings={
                k: [f for f in review.findings if f.kind == k]
                for k in selection(Finding, 'kind')},
            charts=cls._charts(
                review, document, months, labels, names, units, percent))
        return context

    @classmethod
    def _definitions(cls):
        "Return the label and the text of what is told besides the figures"
        pool = Pool()
        for model, names in DEFINITIONS:
            definitions = pool.get(model).fields_get(names)
            for name in names:
                label = definitions[name]['string']
                if name == 'level':
                    label = gettext('prm.msg_review_top')
                yield label, definitions[name]['help']

    @classmethod
    def _translated(cls, document, lang):
        "Return the document with its names in the language"
        Action = Pool().get('prm.plan.action')
        definitions = Action.fields_get(['state', 'decision'])
        states, decisions = (
            dict(definitions[name]['selection'])
            for name in ['state', 'decision'])

        def name(names):
            if not names:
                return
            code = lang.code
            while code and code not in names:
                code = get_parent_language(code)
            return names.get(code) or names.get(
                'en', next(iter(names.values()), None))

        for key, column, translate in [
                ('concessions', 'reason', name),
                ('parties', 'end_reason', name),
                ('unfinished', 'state', states.get),
                ('unfinished', 'decision', decisions.get),
                ('next', 'state', states.get)]:
            document = {**document, key: [
                    {**row, column: translate(row.get(column))}
                    for row in document[key]]}
        return document

    @classmethod
    def _separation(cls, review, document):
        "Return the result of the activity beside the cost of the separation"
        concessions = sum((
                r['amount'] for r in document['concessions']
                if r['separation']), Decimal(0))
        other = review.concessions - concessions
        duty, turnover, unfinished = (
            sum((
                    r['amount'] for r in document.get('costs', [])
                    if r['kind'] == kind), Decimal(0))
            for kind in ['duty', 'turnover', 'unfinished'])
        return {
            'duty': duty,
            'turnover': turnover,
            'unfinished': unfinished,
            'total': (
                concessions + review.buyback_paid
                + duty + turnover + unfinished),
            'concessions': concessions,
            'other_concessions': other,
            'activity': review.gross_revenue - other,
            'cost': concessions + review.buyback_paid,
            }

    @classmethod
    def _differences(cls, review, labels):
        """Return the differences with the ledger

        Each has its label, its amount, the largest (document, amount) that
        explain it and the number and the amount of the others.
        """
        Difference = Pool().get('prm.review.difference')
        differences = defaultdict(list)
        # The names of the documents are told also to those who may not open
        # them
        with without_check_access():
            for difference in Difference.search([
                        ('review', '=', review.id),
                        ]):
                differences[difference.kind].append(
                    (difference.rec_name, difference.amount))
        result = []
        for kind, name in [
                ('concession', 'net_difference'),
                ('invoice', 'actual_difference')]:
            rows = sorted(differences[kind], key=lambda r: -abs(r[1]))
            others = rows[_DIFFERENCES:]
            result.append((
                    labels[name], getattr(review, name), rows[:_DIFFERENCES],
                    len(others), sum((a for _, a in others), Decimal(0))))
        return result

    @classmethod
    def _exposures(cls, document):
        "Return what is not yet handled at the end by separation"
        exposures = {
            row['separation']: row for row in document['series']
            if row['exposure_open'] is not None}
        return {
            s: (row['exposure_open'], row['currency'])
            for s, row in exposures.items() if row['exposure_open']}

    @classmethod
    def _pipeline(cls, document):
        "Return what is ahead, what was ahead before and the change"
        ahead = sum(
            (r['weighted_amount'] or 0 for r in document['pipeline']),
            Decimal(0))
        before = document['pipeline_before']
        if not ahead and not before:
            return None
        return {
            'ahead': ahead,
            'before': before['weighted_amount'] if before else None,
            'name': before['name'] if before else None,
            'change': ahead - before['weighted_amount'] if before else None,
            }

    @classmethod
    def _convert(cls, report, data, **kwargs):
        """Convert the page in PDF or, without extension, in a text document

        The page has no other resource than its own charts.
        """
        if report.template_extension == 'html':
            if report.extension == 'pdf':
                weasyprint = lazy._lazy_import('weasyprint')
                return 'pdf', weasyprint.HTML(
                    string=data,
                    url_fetcher=weasyprint.URLFetcher(
                        allowed_protocols={'data'}),
                    ).write_pdf(pdf_variant='pdf/ua-1')
            elif not report.extension:
                return 'odt', odt.from_html(data)
        return super()._convert(report, data, **kwargs)

    @classmethod
    def _charts(
            cls, review, document, months, labels, names, units, percent):
        # The compared months and those of the review do not follow
        first = review.start_date.replace(day=1)
        split = [d < first for d, _ in months].count(True)
        if 0 < split < len(months):
            months = [*months[:split], (None, {}), *months[split:]]
        x_labels = [
            date.strftime('%m/%Y') if date else '' for date, _ in months]

        def series(names):
            return [
                (labels[n], [values.get(n) for _, values in months])
                for n in names]

        charts = {
            'bridge': chart.bridge([
                    (labels['gross_revenue'], review.gross_revenue, True),
                    (labels['concessions'], -review.concessions, False),
                    (labels['net_revenue'], review.net_revenue, True),
                    (gettext('prm.msg_review_principal'),
                        -review.buyback_principal, False),
                    (gettext('prm.msg_review_interest'),
                        -review.buyback_interest, False),
                    (labels['imputed_revenue'],
                        review.imputed_revenue, True),
                    ], units),
            'months': chart.bars(
                x_labels, series(
                    ['gross_revenue', 'net_revenue', 'imputed_revenue']),
                units),
            'performance': chart.lines(
                x_labels, [
                    *series(['actual', 'target']),
                    (gettext('prm.msg_review_top'),
                        [document['smoothing']['level']] * len(months)),
                    ], units),
            'tension': chart.lines(
                x_labels,
                series([n for n in names if n.startswith('tension_')]),
                percent, 1),
            }
        for separation, rows in groupby(
                document['series'], key=lambda r: r['separation']):
            rows = list(rows)
            amount = partial(units, currency=rows[0]['currency'])
            dates = [r['date'] for r in rows]
            marks = [
                (letter, m['date']) for letter, m in zip(
                    ascii_uppercase, document['milestones'])
                if m['separation'] == separation]
            for name, columns, formatter, maximum in [
                    ('revenue', [
                            'gross_revenue', 'imputed_revenue',
                            'weighted_pipeline'], amount, None),
                    ('cost', ['concessions', 'buyback_paid'], amount, None),
                    ('tension', [
                            n for n in names if n.startswith('tension_')],
                        percent, 1.15)]:
                charts[name, separation] = chart.series(
                    dates, [
                        (labels[n], [r[n] for r in rows]) for n in columns
                        if any(r[n] for r in rows)],
                    marks, formatter, maximum)
        if document['concessions']:
            charts['concessions'] = chart.shares(
                [(r['reason'], r['amount'])
                    for r in document['concessions']], units)
        return {
            n: 'data:image/svg+xml;base64,%s' % base64.b64encode(
                svg.encode('utf-8')).decode('ascii')
            for n, svg in charts.items()}
