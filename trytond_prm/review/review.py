# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import copy
import datetime as dt
import json
from collections import defaultdict
from decimal import Decimal
from itertools import groupby

from dateutil.relativedelta import relativedelta
from sql import Literal, Null, Union

from trytond.i18n import gettext
from trytond.model import (
    Check, Index, ModelSQL, ModelView, Workflow, fields, sequence_ordered)
from trytond.modules.company.model import (
    employee_field, reset_employee, set_employee)
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool
from trytond.protocols.jsonrpc import JSONDecoder, JSONEncoder
from trytond.pyson import Eval, If
from trytond.transaction import Transaction, without_check_access

from ..model import MonthMixin, ReadonlyMixin, WorkflowAccessMixin
from ..performance.smoothing import Month as TargetMonth
from ..performance.smoothing import smoothing
from ..tools import sql_month
from .consolidation import converted_query
from .exceptions import (
    ReviewClosedError, ReviewNotOverWarning, ReviewPeriodError)
from .month import Figures, protect_staff

_DAY = dt.timedelta(days=1)
_PREFIX = 'compare_'
_PIPELINE = dt.timedelta(days=184)
FIGURES = [
    'ledger_revenue', 'booked_concessions', 'gross_revenue', 'concessions',
    'net_revenue', 'concession_rate', 'buyback_principal',
    'buyback_interest', 'buyback_paid', 'imputed_revenue', 'actual', 'target',
    'attainment', 'weighted_pipeline', 'partners_lost', 'interactions',
    'tension', 'tension_customer', 'tension_partner', 'tension_staff']
# The figures of which those of the months are parts
_ADDED = [
    'ledger_revenue', 'booked_concessions', 'concessions',
    'buyback_principal', 'buyback_interest', 'actual', 'target',
    'weighted_pipeline', 'interactions']
# They are not zero without anything
_EMPTY = {
    'concession_rate', 'target', 'attainment', 'tension', 'tension_customer',
    'tension_partner', 'tension_staff'}


def _figure(name, string=None):
    field = copy.deepcopy(getattr(Figures, name))
    if string:
        field.string = string
    return fields.Function(field, 'get_figures')


def half_year(date, shift=0):
    "Return the dates of the half-year of date, shifted by half-years"
    start = date.replace(month=1 if date.month <= 6 else 7, day=1)
    start += relativedelta(months=6 * shift)
    return start, start + relativedelta(months=6) - _DAY


def _previous(start, end):
    "Return the dates of the period as long as this one just before it"
    after = end + _DAY
    if start.day == after.day == 1:
        months = (after.year - start.year) * 12 + after.month - start.month
        return start - relativedelta(months=months), start - _DAY
    return start - (after - start), start - _DAY


def _last_year(start, end):
    "Return the dates of the same period one year before"
    year = relativedelta(years=1)
    return start - year, end + _DAY - year - _DAY


class Review(WorkflowAccessMixin, Workflow, ModelSQL, ModelView):
    __name__ = 'prm.review'
    __string__ = "Review"

    _states = {
        'readonly': Eval('state') != 'draft',
        }

    company = fields.Many2One(
        'company.company', "Company", required=True, states=_states)
    currency = fields.Function(
        fields.Many2One('currency.currency', "Currency"),
        'on_change_with_currency')
    name = fields.Char("Name", required=True, states=_states)
    start_date = fields.Date(
        "Start Date", required=True,
        domain=[
            If(Eval('start_date') & Eval('end_date'),
                ('start_date', '<=', Eval('end_date')),
                ()),
            ],
        states=_states)
    end_date = fields.Date(
        "End Date", required=True,
        domain=[
            If(Eval('start_date') & Eval('end_date'),
                ('end_date', '>=', Eval('start_date')),
                ()),
            ],
        states=_states)
    comparison = fields.Selection([
            ('previous', "Previous Period"),
            ('last_year', "Same Period of Last Year"),
            ('other', "Other Period"),
            ], "Comparison", required=True, sort=False, states=_states,
        help="The period with which the review is compared.")
    compare_start_date = fields.Date(
        "Comparison Start Date",
        domain=[
            If(Eval('compare_start_date') & Eval('compare_end_date'),
                ('compare_start_date', '<=', Eval('compare_end_date')),
                ()),
            ],
        states={
            'readonly': (
                (Eval('state') != 'draft') | (Eval('comparison') != 'other')),
            })
    compare_end_date = fields.Date(
        "Comparison End Date",
        domain=[
            If(Eval('compare_start_date') & Eval('compare_end_date'),
                ('compare_end_date', '>=', Eval('compare_start_date')),
                ()),
            ],
        states={
            'readonly': (
                (Eval('state') != 'draft') | (Eval('comparison') != 'other')),
            })
    closed_at = fields.Timestamp(
        "Closed at", readonly=True,
        states={
            'invisible': ~Eval('closed_at'),
            })
    closed_by = employee_field("Closed by", states=['draft', 'closed'])
    state = fields.Selection([
            ('draft', "Draft"),
            ('closed', "Closed"),
            ], "State", readonly=True, required=True, sort=False)

    ledger_revenue = _figure('ledger_revenue')
    booked_concessions = _figure('booked_concessions')
    gross_revenue = _figure('gross_revenue')
    concessions = _figure('concessions')
    net_revenue = _figure('net_revenue')
    concession_rate = _figure('concession_rate')
    buyback_principal = _figure('buyback_principal')
    buyback_interest = _figure('buyback_interest')
    buyback_paid = _figure('buyback_paid')
    imputed_revenue = _figure('imputed_revenue')
    actual = _figure('actual')
    target = _figure('target')
    attainment = _figure('attainment')
    weighted_pipeline = _figure('weighted_pipeline')
    partners_lost = _figure('partners_lost')
    interactions = _figure('interactions')
    tension = _figure('tension')
    tension_customer = _figure('tension_customer')
    tension_partner = _figure('tension_partner')
    tension_staff = _figure('tension_staff')

    compare_gross_revenue = _figure(
        'gross_revenue', "Compared Gross Revenue")
    compare_concessions = _figure(
        'concessions', "Compared Gestures")
    compare_net_revenue = _figure(
        'net_revenue', "Compared Net Revenue")
    compare_concession_rate = _figure(
        'concession_rate', "Compared Gesture Rate")
    compare_buyback_principal = _figure(
        'buyback_principal', "Compared Buyback Principal")
    compare_buyback_interest = _figure(
        'buyback_interest', "Compared Buyback Interest")
    compare_buyback_paid = _figure(
        'buyback_paid', "Compared Buyback Paid")
    compare_imputed_revenue = _figure(
        'imputed_revenue', "Compared Imputed Revenue")
    compare_actual = _figure(
        'actual', "Compared Actual")
    compare_target = _figure(
        'target', "Compared Target")
    compare_attainment = _figure(
        'attainment', "Compared Attainment")
    compare_weighted_pipeline = _figure(
        'weighted_pipeline', "Compared Weighted Pipeline")
    compare_partners_lost = _figure(
        'partners_lost', "Compared Partners Lost")
    compare_interactions = _figure(
        'interactions', "Compared Interactions")
    compare_tension = _figure(
        'tension', "Compared Tension")
    compare_tension_customer = _figure(
        'tension_customer', "Compared Customer Tension")
    compare_tension_partner = _figure(
        'tension_partner', "Compared Partner Tension")
    compare_tension_staff = _figure(
        'tension_staff', "Compared Staff Tension")

    months = fields.Function(fields.Many2Many(
            'prm.review.month', None, None, "Months",
            context={
                'prm_review': Eval('id', -1),
                'start_date': Eval('start_date', None),
                'end_date': Eval('end_date', None),
                },
            states={
                'invisible': Eval('state') != 'draft',
                },
            depends={'start_date', 'end_date'},
            help="The months of all the companies, in the currency of the "
            "review."),
        'get_months')
    costs = fields.Function(fields.Many2Many(
            'prm.separation.cost', None, None, "Costs of Separation",
            context={
                'prm_review': Eval('id', -1),
                },
            states={
                'invisible': Eval('state') != 'draft',
                },
            help="What the separations cost in the period, by document and "
            "in the currency of the review."),
        'get_costs')
    snapshots = fields.One2Many(
        'prm.review.snapshot', 'review', "Snapshots", readonly=True)
    closed_months = fields.One2Many(
        'prm.review.snapshot', 'review', "Closed Months", readonly=True,
        filter=[
            ('kind', '=', 'month'),
            ],
        order=[('date', 'ASC'), ('id', 'ASC')],
        states={
            'invisible': Eval('state') != 'closed',
            },
        help="The months as they were when the review was closed.")
    differences = fields.One2Many(
        'prm.review.difference', 'review', "Differences", readonly=True,
        help="What makes the figures differ from the ledger.")
    closed_differences = fields.One2Many(
        'prm.review.difference.closed', 'review', "Closed Differences",
        readonly=True)
    net_difference = fields.Function(
        Monetary(
            "Net less Ledger Revenue",
            currency='currency', digits='currency'),
        'get_figures')
    actual_difference = fields.Function(
        Monetary(
            "Actual less Ledger Revenue",
            currency='currency', digits='currency'),
        'get_figures')
    unexplained = fields.Function(
        Monetary(
            "Unexplained", currency='currency', digits='currency',
            help="What remains of the differences with the ledger once the "
            "documents that explain them are listed."),
        'get_figures')
    changed = fields.Function(
        fields.Boolean(
            "Changed",
            help="Checked when figures differ from those of the closing."),
        'get_changes')
    changes = fields.Function(
        fields.Text(
            "Changed since Closing",
            states={
                'invisible': Eval('state') != 'closed',
                },
            help="The figures that later postings would change."),
        'get_changes')
    findings = fields.One2Many(
        'prm.review.finding', 'review', "Findings", states=_states)

    del _states

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls._order = [('start_date', 'DESC'), ('id', 'DESC')]
        cls._sql_constraints += [
            ('period', Check(t, t.start_date <= t.end_date),
                'prm.msg_review_period'),
            ('compare_period', Check(
                    t, t.compare_start_date <= t.compare_end_date),
                'prm.msg_review_period'),
            ]
        cls._sql_indexes.add(
            Index(t,
                (t.company, Index.Equality()),
                (t.start_date, Index.Range(order='DESC')),
                (t.id, Index.Range(order='DESC'))))
        cls._transitions |= {
            ('draft', 'closed'),
            ('closed', 'draft'),
            }
        cls._buttons.update({
                'close': {
                    'invisible': Eval('state') != 'draft',
                    'depends': ['state'],
                    },
                'draft': {
                    'invisible': Eval('state') != 'closed',
                    'icon': 'tryton-back',
                    'depends': ['state'],
                    },
                })

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @classmethod
    def default_start_date(cls):
        return half_year(Pool().get('ir.date').today(), -1)[0]

    @classmethod
    def default_end_date(cls):
        return half_year(Pool().get('ir.date').today(), -1)[1]

    @classmethod
    def default_comparison(cls):
        return 'previous'

    @classmethod
    def default_compare_start_date(cls):
        return half_year(Pool().get('ir.date').today(), -2)[0]

    @classmethod
    def default_compare_end_date(cls):
        return half_year(Pool().get('ir.date').today(), -2)[1]

    @classmethod
    def default_state(cls):
        return 'draft'

    @fields.depends('company', '_parent_company.currency')
    def on_change_with_currency(self, name=None):
        return self.company.currency if self.company else None

    @fields.depends('start_date', 'end_date', 'comparison')
    def on_change_start_date(self):
        self._set_comparison()

    @fields.depends('start_date', 'end_date', 'comparison')
    def on_change_end_date(self):
        self._set_comparison()

    @fields.depends('start_date', 'end_date', 'comparison')
    def on_change_comparison(self):
        self._set_comparison()

    def _set_comparison(self):
        if (self.start_date and self.end_date
                and self.start_date <= self.end_date
                and self.comparison in {'previous', 'last_year'}):
            self.compare_start_date, self.compare_end_date = (
                self._compared(
                    self.comparison, self.start_date, self.end_date))

    @classmethod
    def _compared(cls, comparison, start_date, end_date):
        if comparison == 'last_year':
            return _last_year(start_date, end_date)
        return _previous(start_date, end_date)

    @classmethod
    def get_figures(cls, reviews, names):
        figures = cls._snapshots([r for r in reviews if r.state == 'closed'])
        figures.update(cls._figures([
                    r for r in reviews
                    if (r.id, 'period', None) not in figures]))
        explained = defaultdict(Decimal)
        if 'unexplained' in names:
            for difference in cls._differences(reviews):
                explained[difference.review.id] += difference.amount
        for review in reviews:
            values = figures[review.id, 'period', None]
            ledger = values['ledger_revenue']
            net = values['net_revenue'] - ledger
            actual = values['actual'] - ledger
            values['net_difference'] = net
            values['actual_difference'] = actual
            values['unexplained'] = net + actual - explained[review.id]
        result = {}
        for name in names:
            if name.startswith(_PREFIX):
                kind, figure = 'comparison', name[len(_PREFIX):]
            else:
                kind, figure = 'period', name
            result[name] = {
                r.id: figures.get((r.id, kind, None), {}).get(figure)
                for r in reviews}
        return result

    @classmethod
    def _differences(cls, reviews):
        Difference = Pool().get('prm.review.difference')
        return Difference.search([('review', 'in', [r.id for r in reviews])])

    @classmethod
    def _figures(cls, reviews, monthly=False):
        """Return the figures of the reviews by name

        They are those of the present day by review id, kind of period and
        None or, when monthly, the first day of each month that has anything.
        """
        pool = Pool()
        Month = pool.get('prm.review.month')
        transaction = Transaction()
        if not reviews:
            return {}
        currencies = {r.id: r.company.currency for r in reviews}
        dates = [
            d for r in reviews
            for d in [
                r.start_date, r.end_date,
                r.compare_start_date, r.compare_end_date] if d]
        review = cls.__table__()
        where = fields.SQL_OPERATORS['in'](
            review.id, [r.id for r in reviews])
        periods = Union(
            review.select(
                review.id.as_('review'),
                Literal('period').as_('kind'),
                review.start_date.as_('start_date'),
                review.end_date.as_('end_date'),
                where=where),
            review.select(
                review.id.as_('review'),
                Literal('comparison').as_('kind'),
                review.compare_start_date.as_('start_date'),
                review.compare_end_date.as_('end_date'),
                where=where
                & (review.compare_start_date != Null)
                & (review.compare_end_date != Null)),
            all_=True)
        items = Month.items(
            start_date=min(dates), end_date=max(dates),
            companies=list({c.id for r in reviews for c in r.all_companies}))
        items = converted_query(
            items, ['value'], lambda column: fields.SQL_OPERATORS['in'](
                column, [r.id for r in reviews]))
        rows = (periods
            .join(items,
                condition=(items.review == periods.review)
                & (items.date >= periods.start_date)
                & (items.date <= periods.end_date))
            .select(
                periods.review, periods.kind,
                sql_month(items.date if monthly else periods.start_date
                    ).as_('date'),
                items.measure, items.value, items.person))
        expressions = Month.figures(rows)
        query = rows.select(
            rows.review, rows.kind, rows.date, *expressions.values(),
            group_by=[rows.review, rows.kind, rows.date])

        figures = {}
        if not monthly:
            for review in reviews:
                currency = currencies[review.id]
                figures[review.id, 'period', None] = cls._convert(
                    {}, currency)
                if review.compare_start_date and review.compare_end_date:
                    figures[review.id, 'comparison', None] = cls._convert(
                        {}, currency)
        cursor = transaction.connection.cursor()
        cursor.execute(*query)
        for review_id, kind, date, *values in cursor:
            if not monthly:
                date = None
            elif isinstance(date, str):
                date = dt.date.fromisoformat(date)
            figures[review_id, kind, date] = cls._convert(
                dict(zip(expressions, values)), currencies[review_id])
        return figures

    @classmethod
    def _convert(cls, values, currency):
        figures = {}
        for name in FIGURES:
            field = getattr(Figures, name)
            value = values.get(name)
            if value is None:
                if name in _EMPTY:
                    figures[name] = None
                    continue
                value = 0
            if isinstance(field, Monetary):
                value = currency.round(Decimal(str(value)))
            elif isinstance(field, fields.Numeric):
                value = round(Decimal(str(value)), field.digits[1])
            figures[name] = value
        return figures

    @classmethod
    def _snapshots(cls, reviews):
        "Return the closed figures by review id, kind of period and month"
        Snapshot = Pool().get('prm.review.snapshot')
        if not reviews:
            return {}
        snapshots = Snapshot.search([
                ('review', 'in', [r.id for r in reviews]),
                ])
        kinds = {'month': 'period', 'compare_month': 'comparison'}
        return {
            (s.review.id, kinds.get(s.kind, s.kind), s.date): {
                n: getattr(s, n) for n in FIGURES}
            for s in snapshots}

    @classmethod
    def get_months(cls, reviews, name):
        Month = Pool().get('prm.review.month')
        months = {r.id: [] for r in reviews}
        drafts = [r for r in reviews if r.state == 'draft']
        companies = {r.id: r.company.id for r in drafts}
        for review_id, kind, date in sorted(
                cls._figures(drafts, monthly=True)):
            if kind == 'period':
                months[review_id].append(
                    Month.month_id(companies[review_id], date))
        return months

    @classmethod
    def get_costs(cls, reviews, name):
        Cost = Pool().get('prm.separation.cost')
        costs = {r.id: [] for r in reviews}
        drafts = [r for r in reviews if r.state == 'draft']
        if drafts:
            for cost in Cost.search([
                        ('company', 'in', list({
                                    c.id for r in drafts
                                    for c in r.all_companies})),
                        ('date', '>=', min(r.start_date for r in drafts)),
                        ('date', '<=', max(r.end_date for r in drafts)),
                        ], order=[('date', 'ASC'), ('id', 'ASC')]):
                for review in drafts:
                    if (cost.company in review.all_companies
                            and review.start_date <= cost.date
                            <= review.end_date):
                        costs[review.id].append(cost.id)
        return costs

    @classmethod
    @protect_staff
    def get_changes(cls, reviews, names):
        """Return for closed reviews whether figures would change and how

        The changes compare what the ledger and the other sources tell today
        with the snapshot of the closing, also by month for the figures whose
        total is the same.
        """
        pool = Pool()
        FieldAccess = pool.get('ir.model.field.access')
        Lang = pool.get('ir.lang')
        closed = [r for r in reviews if r.state == 'closed']
        before = cls._snapshots(closed)
        after = cls._figures(closed)
        after.update(cls._figures(closed, monthly=True))
        lang = Lang.get()
        access = FieldAccess.get_access([cls.__name__])[cls.__name__]
        figures = [
            n for n in FIGURES if access.get(n, {}).get('read', True)]
        labels = {
            n: d['string'] for n, d in cls.fields_get(FIGURES).items()}
        months = defaultdict(set)
        for review_id, kind, date in [*before, *after]:
            if date:
                months[review_id, kind].add(date)
        changed = {r.id: False for r in reviews}
        changes = {r.id: None for r in reviews}
        for review in closed:
            lines = []
            for kind, message in [
                    ('period', 'prm.msg_review_change'),
                    ('comparison', 'prm.msg_review_change_comparison')]:
                old = before.get((review.id, kind, None), {})
                new = after.get((review.id, kind, None), {})
                for name in figures:
                    if old.get(name) != new.get(name):
                        lines.append(gettext(message,
                                figure=labels[name],
                                closed=review._format(
                                    lang, name, old.get(name)),
                                current=review._format(
                                    lang, name, new.get(name))))
                        continue
                    if name not in _ADDED:
                        continue
                    for date in sorted(months[review.id, kind]):
                        key = (review.id, kind, date)
                        old_month = before.get(key, {}).get(name) or 0
                        new_month = after.get(key, {}).get(name) or 0
                        if old_month != new_month:
                            lines.append(gettext(message,
                                    figure=f'{labels[name]}, {date:%Y-%m}',
                                    closed=review._format(
                                        lang, name, old_month),
                                    current=review._format(
                                        lang, name, new_month)))
            changed[review.id] = bool(lines)
            changes[review.id] = '\n'.join(lines)
        result = {'changed': changed, 'changes': changes}
        return {n: result[n] for n in names}

    @property
    def document(self):
        """What the printed review tells besides the figures and the findings

        It is the one of the closing if the review is closed. It has names by
        code of language, keys of selections and no text of its own, so that
        it can be told in each language. It has the staff tension only for
        those who may read it.
        """
        pool = Pool()
        FieldAccess = pool.get('ir.model.field.access')
        access = FieldAccess.get_access([self.__name__])[self.__name__]
        document = self._get_document()
        if not access.get('tension_staff', {}).get('read', True):
            for name in ['phases', 'series']:
                for row in document[name]:
                    row.pop('tension_staff', None)
        return document

    @without_check_access
    def _get_document(self):
        if self.state == 'closed':
            for snapshot in self.__class__(self.id).snapshots:
                if snapshot.kind == 'period':
                    return json.loads(
                        snapshot.document, object_hook=JSONDecoder())
        return self._documents(
            [self], self._figures([self], monthly=True))[self.id]

    @classmethod
    @protect_staff
    @without_check_access
    def _documents(cls, reviews, figures):
        """Return the document of each review by id

        The figures are those of the months of the reviews.
        """
        documents = {}
        # What is known at the end does not depend on the other reviews
        for end_date, sub_reviews in groupby(
                sorted(reviews, key=lambda r: r.end_date),
                key=lambda r: r.end_date):
            documents.update(cls._documents_until(
                    end_date, list(sub_reviews), figures))
        return documents

    @classmethod
    def _documents_until(cls, end_date, reviews, figures):
        "Return the document of each review that ends on the date by id"
        documents = {r.id: {} for r in reviews}
        companies = list({c.id for r in reviews for c in r.all_companies})
        start_date = min(r.first_date for r in reviews)
        for name, rows in [
                ('milestones', cls._document_milestones(companies, end_date)),
                ('concessions', cls._document_concessions(
                        companies, start_date, end_date)),
                ('unfinished', cls._document_unfinished(
                        companies, start_date, end_date)),
                ('next', cls._document_next(companies, end_date)),
                ('pipeline', cls._document_pipeline(companies, start_date)),
                ('buybacks', cls._document_buybacks(companies, end_date)),
                ('phases', cls._document_phases(companies, end_date)),
                ('series', cls._document_series(companies, end_date)),
                ('parties', cls._document_parties(companies)),
                ('costs', cls._document_costs(companies, end_date)),
                ('years', cls._document_years(companies, end_date)),
                ]:
            for review in reviews:
                documents[review.id][name] = [
                    cls._converted(review, company, row)
                    for company, test, row in rows
                    if company in review.all_companies and test(review)]
        before = cls._pipelines_before(reviews)
        for review in reviews:
            document = documents[review.id]
            document['milestones'] = cls._with_separation(
                review, document['milestones'])
            separations = {m['separation'] for m in document['milestones']}
            for name in ['phases', 'series', 'parties', 'years']:
                document[name] = [
                    p for p in document[name]
                    if p['separation'] in separations]
            document['pipeline_before'] = before.get(review.id)
            document['concessions'] = cls._by_reason(
                review, document['concessions'])
            document['buybacks'] = cls._paid_until(
                review, document['buybacks'])
            document['pipeline'] = cls._by_month(document['pipeline'])
            level, value, troughs = smoothing([
                    TargetMonth(date, values['target'], values['actual'])
                    for (id_, kind, date), values in sorted(
                        figures.items(), key=lambda i: i[0][2] or dt.date.min)
                    if id_ == review.id and kind == 'period' and date
                    and values['target'] is not None])
            document['smoothing'] = {
                'level': level,
                'smoothing': value,
                'missing': sum((a for _, a in troughs), Decimal(0)),
                }
        return documents

    @classmethod
    def _names(cls, records):
        "Return the name of each record by code of the active languages"
        pool = Pool()
        Lang = pool.get('ir.lang')
        names = {r: {} for r in records}
        if not names:
            return names
        Model = type(next(iter(names)))
        for lang in Lang.search([('translatable', '=', True)]):
            with Transaction().set_context(language=lang.code):
                for record in Model.browse(list(names)):
                    names[record][lang.code] = record.rec_name
        return names

    @classmethod
    def _converted(cls, review, company, row):
        """Return the row with its amounts in the currency of the review

        Those of its keys which are in amounts are converted at its date, or
        at the end of the review when it is later or empty.
        """
        row = row.copy()
        row['company'] = company.rec_name
        row['currency'] = company.currency.id
        names = row.pop('amounts', [])
        if names:
            date = min(row.get('date') or review.end_date, review.end_date)
            for name in names:
                row[name] = review.convert(row[name], company, date)
            row['currency'] = review.currency.id
        return row

    @classmethod
    def _by_month(cls, rows):
        "Sum the pipelines of the companies"
        months = {}
        for row in rows:
            month = months.setdefault(row['date'], {
                    'date': row['date'],
                    'amount': Decimal(0),
                    'weighted_amount': Decimal(0),
                    })
            for name in ['amount', 'weighted_amount']:
                month[name] += row[name] or 0
        return [months[d] for d in sorted(months)]

    @classmethod
    def _document_milestones(cls, companies, end_date):
        Milestone = Pool().get('prm.separation.milestone')
        return [(
                m.separation.company, lambda r, m=m: m.date <= r.end_date, {
                    'separation': m.separation.id,
                    'date': m.date,
                    'kind': m.kind,
                    'party': m.separation.party.rec_name,
                    'description': m.description,
                    }) for m in Milestone.search([
                    ('separation.company', 'in', companies),
                    ('date', '<=', end_date),
                    ], order=[('date', 'ASC'), ('id', 'ASC')])]

    @classmethod
    def _with_separation(cls, review, milestones):
        "Keep the milestones of the separations of the compared periods"
        separations = {
            m['separation'] for m in milestones
            if m['date'] >= review.first_date}
        return [m for m in milestones if m['separation'] in separations]

    @classmethod
    def _document_concessions(cls, companies, start_date, end_date):
        Concession = Pool().get('prm.concession')
        query = Concession.imputed_query()
        cursor = Transaction().connection.cursor()
        cursor.execute(*query.select(
                query.concession, query.amount,
                where=query.company.in_(companies)
                & (query.date >= start_date)
                & (query.date <= end_date)))
        amounts = {id_: Decimal(str(amount)) for id_, amount in cursor}
        concessions = Concession.browse(list(amounts))
        names = cls._names(c.reason for c in concessions)
        return [(
                c.company, lambda r, c=c: (
                    r.start_date <= c.imputation_date <= r.end_date), {
                    'id': c.reason.id,
                    'reason': names[c.reason],
                    'separation': bool(c.reason.separation),
                    'date': c.imputation_date,
                    'amount': c.company.currency.round(amounts[c.id]),
                    'amounts': ['amount'],
                    }) for c in concessions]

    @classmethod
    def _document_phases(cls, companies, end_date):
        Phase = Pool().get('prm.separation.phase')
        names = [
            'separation', 'phase', 'months', 'monthly_gross_revenue',
            'monthly_concessions', 'monthly_net_revenue',
            'monthly_imputed_revenue', 'partners_lost', 'interactions',
            'weighted_pipeline', 'tension_customer', 'tension_partner',
            'tension_staff']
        with Transaction().set_context(start_date=None, end_date=end_date):
            return [(
                    p.company, lambda r: True, {
                        **{n: getattr(p, n) for n in names},
                        'separation': p.separation.id,
                        'party': p.separation.party.rec_name,
                        }) for p in Phase.search([
                        ('company', 'in', companies)])]

    @classmethod
    def _document_series(cls, companies, end_date):
        "Return the months from one year before the separations"
        Month = Pool().get('prm.separation.month')
        names = [
            'date', 'phase', 'gross_revenue', 'concessions', 'buyback_paid',
            'imputed_revenue', 'weighted_pipeline', 'partners_lost',
            'interactions', 'tension_customer', 'tension_partner',
            'tension_staff', 'exposure_open']
        with Transaction().set_context(start_date=None, end_date=end_date):
            return [(
                    m.company, lambda r, m=m: m.date <= r.end_date, {
                        **{n: getattr(m, n) for n in names},
                        'separation': m.separation.id,
                        }) for m in Month.search([
                        ('company', 'in', companies),
                        ], order=[('separation', 'ASC'), ('date', 'ASC')])
                if m.date >= (
                    m.separation.start_date - relativedelta(years=1))]

    @classmethod
    def _document_parties(cls, companies):
        "Return the partners and customers that were lost, by revenue"
        Party = Pool().get('prm.separation.party')
        parties = Party.search([
                ('company', 'in', companies),
                ('lost', '=', True),
                ])
        names = cls._names(p.end_reason for p in parties if p.end_reason)
        return [(
                p.company, lambda r, p=p: (
                    not p.end_date or p.end_date <= r.end_date), {
                    'separation': p.separation.id,
                    'party': p.party.rec_name,
                    'revenue_before': p.revenue_before,
                    'revenue_since': p.revenue_since,
                    'end_date': p.end_date,
                    'end_reason': names.get(p.end_reason),
                    }) for p in parties]

    @classmethod
    def _document_costs(cls, companies, end_date):
        Cost = Pool().get('prm.separation.cost')
        return [(
                c.company, lambda r, c=c: (
                    r.start_date <= c.date <= r.end_date), {
                    'date': c.date,
                    'kind': c.kind,
                    'origin': str(c.origin),
                    'amount': c.amount,
                    'imputed': c.imputed,
                    'amounts': ['amount'],
                    }) for c in Cost.search([
                    ('company', 'in', companies),
                    ('date', '<=', end_date),
                    ], order=[('date', 'ASC'), ('id', 'ASC')])]

    @classmethod
    def _document_years(cls, companies, end_date):
        Year = Pool().get('prm.separation.year')
        with Transaction().set_context(end_date=end_date):
            return [(
                    y.company, lambda r, y=y: y.year <= r.end_date.year, {
                        'separation': y.separation.id,
                        'party': y.separation.party.rec_name,
                        'year': y.year,
                        'activity': y.activity,
                        'cost': y.cost,
                        'result': y.result,
                        }) for y in Year.search([
                        ('company', 'in', companies),
                        ], order=[('separation', 'ASC'), ('year', 'ASC')])]

    @classmethod
    def _pipelines_before(cls, reviews):
        """Return what the last closed review of each company had ahead

        It is by id of the review that follows it.
        """
        Snapshot = Pool().get('prm.review.snapshot')
        snapshots = Snapshot.search([
                ('company', 'in', list({r.company.id for r in reviews})),
                ('kind', '=', 'period'),
                ('review.state', '=', 'closed'),
                ], order=[('review.end_date', 'DESC'), ('id', 'DESC')])
        before = {}
        for review in reviews:
            for snapshot in snapshots:
                if (snapshot.company == review.company
                        and snapshot.review.end_date < review.end_date):
                    rows = json.loads(
                        snapshot.document, object_hook=JSONDecoder()
                        )['pipeline']
                    before[review.id] = {
                        'name': snapshot.review.name,
                        **{n: sum((r[n] or 0 for r in rows), Decimal(0))
                            for n in ['amount', 'weighted_amount']},
                        }
                    break
        return before

    @classmethod
    def _by_reason(cls, review, concessions):
        reasons = {}
        for concession in concessions:
            reason = reasons.setdefault(
                concession['id'],
                {**concession, 'number': 0, 'amount': Decimal(0)})
            reason['number'] += 1
            reason['amount'] += concession['amount']
        return sorted(reasons.values(), key=lambda r: -r['amount'])

    @classmethod
    def _document_unfinished(cls, companies, start_date, end_date):
        return cls._document_actions(companies, [
                ['OR',
                    ('state', 'in', ['shelved', 'abandoned']),
                    [
                        ('decision', '=', 'restart'),
                        ('decision_date', '>=', start_date),
                        ],
                    ],
                ('stopped_date', '<=', end_date),
                ], lambda review, action: (
                action.stopped_date <= review.end_date
                and (action.state in {'shelved', 'abandoned'}
                    or action.decision_date >= review.start_date)))

    @classmethod
    def _document_next(cls, companies, end_date):
        return cls._document_actions(companies, [
                ('state', 'in', ['planned', 'running']),
                ], lambda review, action: True)

    @classmethod
    def _document_actions(cls, companies, domain, test):
        Action = Pool().get('prm.plan.action')
        return [(
                a.company, lambda r, a=a: test(r, a), {
                    'name': a.name,
                    'plan': a.plan.rec_name,
                    'core': bool(a.core),
                    'employee': a.employee.rec_name if a.employee else None,
                    'due_date': a.due_date,
                    'stopped_date': a.stopped_date,
                    'hours': a.hours,
                    'cost': a.cost,
                    'expected_revenue': a.expected_revenue,
                    'deferred_revenue': a.deferred_revenue,
                    'state': a.state,
                    'decision': a.decision,
                    'decision_date': a.decision_date,
                    'why': a.why,
                    'date': a.stopped_date,
                    'amounts': [
                        'cost', 'expected_revenue', 'deferred_revenue'],
                    }) for a in Action.search([
                    ('company', 'in', companies), domain,
                    ], order=[('due_date', 'ASC'), ('id', 'ASC')])]

    @classmethod
    def _document_pipeline(cls, companies, start_date):
        Pipeline = Pool().get('prm.pipeline')
        return [(
                p.company, lambda r, p=p: (
                    r.end_date < p.date
                    <= r.end_date + _PIPELINE), {
                    'date': p.date,
                    'amount': p.amount,
                    'weighted_amount': p.weighted_amount,
                    'amounts': ['amount', 'weighted_amount'],
                    }) for p in Pipeline.search([
                    ('company', 'in', companies),
                    ('date', '>', start_date),
                    ], order=[('date', 'ASC')])]

    @classmethod
    def _document_buybacks(cls, companies, end_date):
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        Payment = pool.get('prm.buyback.payment')
        buybacks = Buyback.search([
                ('company', 'in', companies),
                ('state', 'in', ['running', 'paid', 'terminated']),
                ('signature_date', '<=', end_date),
                ])
        payments = defaultdict(list)
        for payment in Payment.search([
                    ('buyback', 'in', [b.id for b in buybacks]),
                    ('date', '<=', end_date),
                    ], order=[('date', 'ASC')]):
            payments[payment.instalment].append(
                (payment.date, payment.amount))
        return [(
                b.company, lambda r, b=b: b.signature_date <= r.end_date, {
                    'number': b.number,
                    'party': b.party.rec_name,
                    'price': b.price,
                    'instalments': [{
                            'due_date': i.due_date,
                            'principal': i.principal,
                            'interest': i.interest,
                            'amount': i.amount,
                            'payments': payments[i],
                            } for i in b.instalments],
                    }) for b in buybacks]

    @classmethod
    def _paid_until(cls, review, buybacks):
        """Sum the payments of the instalments until the end of the review

        What was paid before the compared period is no more told.
        """
        def is_over(buyback):
            paid = Decimal(0)
            for instalment in buyback['instalments']:
                paid -= instalment['amount']
                for date, amount in instalment['payments']:
                    if review.first_date <= date <= review.end_date:
                        return False
                    elif date <= review.end_date:
                        paid += amount
            return paid >= 0

        return [{
                **buyback,
                'instalments': [{
                        **{k: v for k, v in instalment.items()
                            if k != 'payments'},
                        'paid': sum((
                                a for d, a in instalment['payments']
                                if d <= review.end_date), Decimal(0)),
                        'paid_date': max((
                                d for d, a in instalment['payments']
                                if d <= review.end_date), default=None),
                        } for instalment in buyback['instalments']],
                } for buyback in buybacks if not is_over(buyback)]

    @property
    def first_date(self):
        "The first day of the review and of what it is compared with"
        return min(self.start_date, self.compare_start_date or self.start_date)

    @property
    def all_months(self):
        "The figures of the months of the compared period and of the review"
        if self.state == 'closed':
            months = {
                s.date: {n: getattr(s, n) for n in FIGURES}
                for s in self.snapshots
                if s.kind in {'month', 'compare_month'}}
        else:
            months = {
                date: values for (_, _, date), values in self._figures(
                    [self], monthly=True).items()}
        return sorted(months.items())

    def _format(self, lang, name, value):
        if value is None:
            return gettext('prm.msg_review_change_empty')
        field = getattr(Figures, name)
        if isinstance(field, Monetary):
            return lang.currency(value, self.currency, grouping=True)
        elif isinstance(field, fields.Numeric):
            return lang.format_number(value * 100, 2) + ' %'
        return lang.format_number(value, grouping=True)

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            ('/form//page[@name="months" or @name="costs"]', 'states', {
                    'invisible': Eval('state') != 'draft',
                    }),
            ('/form//page[@name="closed_months" or @id="closing"]',
                'states', {
                    'invisible': Eval('state') != 'closed',
                    }),
            ('/tree', 'visual', If(Eval('changed'), 'warning', '')),
            ]

    @classmethod
    def validate_fields(cls, reviews, field_names):
        super().validate_fields(reviews, field_names)
        cls._check_comparison(reviews, field_names)

    @classmethod
    def _check_comparison(cls, reviews, field_names):
        if field_names and not (
                field_names & {'compare_start_date', 'compare_end_date'}):
            return
        for review in reviews:
            if (bool(review.compare_start_date)
                    != bool(review.compare_end_date)):
                raise ReviewPeriodError(gettext(
                        'prm.msg_review_comparison_incomplete',
                        review=review.rec_name))

    @classmethod
    def preprocess_values(cls, mode, values):
        values = super().preprocess_values(mode, values)
        if (mode == 'create'
                and values.get('start_date') and values.get('end_date')
                and values.get('comparison') != 'other'
                and 'compare_start_date' not in values
                and 'compare_end_date' not in values):
            values['compare_start_date'], values['compare_end_date'] = (
                cls._compared(
                    values.get('comparison'),
                    values['start_date'], values['end_date']))
        return values

    @classmethod
    def _workflow_fields(cls):
        return super()._workflow_fields() | {'closed_at', 'closed_by'}

    @classmethod
    def check_modification(cls, mode, reviews, values=None, external=False):
        super().check_modification(
            mode, reviews, values=values, external=external)
        if mode == 'delete' or (
                mode == 'write' and values.keys() - cls._get_unfrozen()):
            message = (
                'prm.msg_review_delete_closed' if mode == 'delete'
                else 'prm.msg_review_modify_closed')
            for review in reviews:
                if review.state == 'closed':
                    raise ReviewClosedError(
                        gettext(message, review=review.rec_name))

    @classmethod
    def _get_unfrozen(cls):
        "Return the names of the fields that change when it is closed"
        return {'state', 'closed_at', 'closed_by'}

    @classmethod
    def copy(cls, reviews, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('closed_at', None)
        default.setdefault('closed_by', None)
        default.setdefault('snapshots', None)
        default.setdefault('closed_months', None)
        default.setdefault('differences', None)
        default.setdefault('closed_differences', None)
        return super().copy(reviews, default=default)

    @classmethod
    @ModelView.button
    @Workflow.transition('closed')
    @set_employee('closed_by')
    @protect_staff
    def close(cls, reviews):
        pool = Pool()
        ClosedDifference = pool.get('prm.review.difference.closed')
        Date = pool.get('ir.date')
        Lang = pool.get('ir.lang')
        Snapshot = pool.get('prm.review.snapshot')
        Warning = pool.get('res.user.warning')
        cls.lock(reviews)
        lang = Lang.get()
        for review in reviews:
            with Transaction().set_context(company=review.company.id):
                today = Date.today()
            if review.end_date > today:
                key = Warning.format('not_over', [review])
                if Warning.check(key):
                    raise ReviewNotOverWarning(key, gettext(
                            'prm.msg_review_not_over',
                            review=review.rec_name,
                            date=lang.strftime(review.end_date)))
        figures = cls._figures(reviews)
        figures.update(cls._figures(reviews, monthly=True))
        companies = {r.id: r.company for r in reviews}
        documents = cls._documents(reviews, figures)
        to_save = []
        for (review_id, kind, date), values in figures.items():
            document = None
            if date:
                kind = {'period': 'month', 'comparison': 'compare_month'}[kind]
            elif kind == 'period':
                document = json.dumps(documents[review_id], cls=JSONEncoder)
            to_save.append(Snapshot(
                    review=review_id, company=companies[review_id],
                    kind=kind, date=date, document=document, **values))
        Snapshot.save(to_save)
        ClosedDifference.save([
                ClosedDifference(
                    review=d.review, kind=d.kind, origin=str(d.origin),
                    ledger_amount=d.ledger_amount,
                    figure_amount=d.figure_amount, amount=d.amount)
                for d in cls._differences(reviews)])
        cls.write(reviews, {'closed_at': dt.datetime.now()})

    @classmethod
    @ModelView.button
    @Workflow.transition('draft')
    @reset_employee('closed_by')
    def draft(cls, reviews):
        pool = Pool()
        ClosedDifference = pool.get('prm.review.difference.closed')
        Snapshot = pool.get('prm.review.snapshot')
        Snapshot.delete([s for r in reviews for s in r.snapshots])
        ClosedDifference.delete(
            [d for r in reviews for d in r.closed_differences])
        cls.write(reviews, {'closed_at': None})


class Snapshot(MonthMixin, ReadonlyMixin, Figures, ModelView):
    __name__ = 'prm.review.snapshot'
    __string__ = "Snapshot of Review"

    review = fields.Many2One(
        'prm.review', "Review", required=True, ondelete='CASCADE')
    kind = fields.Selection([
            ('period', "Period"),
            ('comparison', "Comparison"),
            ('month', "Month"),
            ('compare_month', "Month of Comparison"),
            ], "Kind", required=True, sort=False)
    date = fields.Date(
        "Month",
        states={
            'invisible': ~Eval('kind').in_(['month', 'compare_month']),
            },
        help="The first day of the month.")
    document = fields.Text(
        "Document", readonly=True,
        help="What the printed review tells besides the figures, as JSON.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('review')
        cls._order = [('review', 'DESC'), ('date', 'ASC'), ('id', 'ASC')]
        cls.company.required = True


class Finding(sequence_ordered(), ModelSQL, ModelView):
    __name__ = 'prm.review.finding'
    __string__ = "Finding of Review"
    _rec_name = 'text'

    review = fields.Many2One(
        'prm.review', "Review", required=True, ondelete='CASCADE',
        states={
            'readonly': Eval('review_state') == 'closed',
            },
        depends={'review_state'})
    kind = fields.Selection([
            ('negative', "Negative"),
            ('positive', "Positive"),
            ('decision', "Decision"),
            ('outlook', "Outlook"),
            ], "Kind", required=True, sort=False,
        states={
            'readonly': Eval('review_state') == 'closed',
            },
        depends={'review_state'})
    text = fields.Text(
        "Text", required=True,
        states={
            'readonly': Eval('review_state') == 'closed',
            },
        depends={'review_state'})
    origin = fields.Reference(
        "Origin", selection='get_origin',
        states={
            'readonly': Eval('review_state') == 'closed',
            },
        depends={'review_state'},
        help="What made the finding.")
    review_state = fields.Function(
        fields.Selection('get_review_states', "Review State"),
        'on_change_with_review_state')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('review')
        cls._order.insert(0, ('review', 'DESC'))

    @classmethod
    def get_review_states(cls):
        Review = Pool().get('prm.review')
        return Review.fields_get(['state'])['state']['selection']

    @fields.depends('review', '_parent_review.state')
    def on_change_with_review_state(self, name=None):
        return self.review.state if self.review else None

    def get_rec_name(self, name):
        lines = self.text.strip().splitlines()
        return lines[0] if lines else ''

    @classmethod
    def search_rec_name(cls, name, clause):
        return [('text', *clause[1:])]

    @classmethod
    def _get_origin(cls):
        "Return the names of the models that may make a finding"
        return [
            'account.invoice',
            'party.party',
            'prm.buyback',
            'prm.concession',
            'prm.interaction',
            'prm.partner',
            'prm.plan',
            'prm.plan.action',
            'prm.separation',
            'prm.target',
            ]

    @classmethod
    def get_origin(cls):
        Model = Pool().get('ir.model')
        return [(None, '')] + [
            (m, Model.get_name(m)) for m in cls._get_origin()]

    @classmethod
    def check_modification(cls, mode, findings, values=None, external=False):
        super().check_modification(
            mode, findings, values=values, external=external)
        if mode == 'write' and not values.keys() - cls._get_unfrozen():
            return
        for finding in findings:
            if finding.review.state == 'closed':
                raise ReviewClosedError(gettext(
                        'prm.msg_review_modify_closed',
                        review=finding.review.rec_name))

    @classmethod
    def _get_unfrozen(cls):
        "Return the names of the fields that change in a closed review"
        return set()
