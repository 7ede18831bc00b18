# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from collections import defaultdict
from decimal import Decimal

from dateutil.relativedelta import relativedelta
from sql import Literal, Null
from sql.aggregate import Avg, Count, Max
from sql.conditionals import Case, Coalesce

from trytond.i18n import gettext
from trytond.model import (
    DeactivableMixin, ModelSQL, ModelView, fields, sequence_ordered)
from trytond.pool import Pool
from trytond.pyson import Eval
from trytond.tools import grouped_slice
from trytond.transaction import Transaction

from ..tools import sql_local_date, sql_sum
from .exceptions import HealthMetricError, HealthWeightError

_in = fields.SQL_OPERATORS['in']
_SIZE = 10_000  # values of an IN that every database accepts
_DAY = dt.timedelta(days=1)
_CENT = Decimal('0.01')
_NEUTRAL = Decimal(50)

KINDS = [
    ('recency', "Days since the Last Interaction"),
    ('frequency', "Number of Interactions"),
    ('sentiment', "Change of the Mean Sentiment"),
    ('overdue', "Overdue Receivable"),
    ('gestures', "Commercial Gestures"),
    ('revenue', "Change of the Revenue in %"),
    ]


class HealthMetric(
        DeactivableMixin, sequence_ordered(), ModelSQL, ModelView):
    __name__ = 'prm.health.metric'
    __string__ = "Health Metric"

    company = fields.Many2One(
        'company.company', "Company",
        help="Leave empty for each company that has no metric of its own.")
    kind = fields.Selection(KINDS, "Kind", required=True, sort=False)
    kind_string = kind.translated('kind')
    weight = fields.Numeric(
        "Weight", digits=(None, 2), required=True,
        domain=[
            ('weight', '>', 0),
            ('weight', '<=', 100),
            ],
        help="The part of the score that the metric gives.\n"
        "The weights of the metrics of a company must total 100.")
    window_months = fields.Integer(
        "Window", required=True,
        domain=[
            ('window_months', '>', 0),
            ],
        states={
            'invisible': Eval('kind').in_(['recency', 'overdue']),
            },
        help="Over how many months until the day of the score it is "
        "measured.\n"
        "A change is from as many months before.")
    worst = fields.Numeric(
        "Worst", required=True,
        help="The value that gives no points.")
    best = fields.Numeric(
        "Best", required=True,
        help="The value that gives all the points.\n"
        "What is between gives a part of them.")

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @classmethod
    def default_window_months(cls):
        return 6

    @classmethod
    def _scales(cls):
        "Return the default worst and best value of each kind"
        return {
            'recency': (Decimal(180), Decimal(30)),
            'frequency': (Decimal(0), Decimal(6)),
            'sentiment': (Decimal(-1), Decimal(1)),
            'overdue': (Decimal(10000), Decimal(0)),
            'gestures': (Decimal(1000), Decimal(0)),
            'revenue': (Decimal(-50), Decimal(20)),
            }

    @fields.depends('kind')
    def on_change_kind(self):
        if self.kind:
            self.worst, self.best = self._scales()[self.kind]

    def get_rec_name(self, name):
        return self.kind_string

    @classmethod
    def search_rec_name(cls, name, clause):
        kinds = [k for k, _ in cls.kind.selection]
        _, operator, operand, *_ = clause
        if not isinstance(operand, str):
            return [('kind', operator, operand)]
        operand = operand.strip('%').lower()
        found = [
            k for k, s in cls.fields_get(['kind'])['kind']['selection']
            if operand in s.lower()]
        if operator.startswith('!') or operator.startswith('not '):
            found = [k for k in kinds if k not in found]
        return [('kind', 'in', found)]

    @classmethod
    def validate_fields(cls, metrics, field_names):
        super().validate_fields(metrics, field_names)
        if {'worst', 'best'} & field_names:
            for metric in metrics:
                if metric.worst == metric.best:
                    raise HealthMetricError(gettext(
                            'prm.msg_health_metric_scale',
                            metric=metric.rec_name))
        if {'weight', 'company', 'active'} & field_names:
            companies = {m.company for m in metrics}
            for company, total in cls._totals(companies).items():
                if total > 100:
                    raise HealthMetricError(gettext(
                            'prm.msg_health_metric_exceeded',
                            company=cls._company_name(company),
                            total=_format(total)))

    @classmethod
    def _of(cls, companies):
        "Return the active metrics by company or None for those of any"
        metrics = defaultdict(list)
        for metric in cls.search(['OR',
                    ('company', 'in', [c.id for c in companies if c]),
                    ('company', '=', None),
                    ]):
            metrics[metric.company].append(metric)
        return metrics

    @classmethod
    def _totals(cls, companies):
        metrics = cls._of(companies)
        return {c: sum(m.weight for m in metrics[c]) for c in companies}

    @classmethod
    def _company_name(cls, company):
        return (company.rec_name if company
            else gettext('prm.msg_health_metric_any_company'))

    @classmethod
    def of_companies(cls, companies):
        """Return the metrics of each company that has any

        They are its own or else those without company. Their weights must
        total 100.
        """
        found = cls._of(companies)
        metrics = {
            c: ms for c in companies if (ms := found[c] or found[None])}
        for company in {m.company for ms in metrics.values() for m in ms}:
            total = sum(m.weight for m in found[company])
            if total != 100:
                raise HealthWeightError(gettext(
                        'prm.msg_health_metric_total',
                        company=cls._company_name(company),
                        total=_format(total)))
        return metrics

    def get_points(self, value):
        """Return the points of the value, from 0 at worst to 100 at best

        Without value the metric is neutral.
        """
        if value is None:
            return _NEUTRAL
        points = 100 * (value - self.worst) / (self.best - self.worst)
        return min(max(points, Decimal(0)), Decimal(100)).quantize(_CENT)

    @classmethod
    def measure(cls, metrics, partners, date):
        """Return the value of each partner for each metric at the date

        The result is by metric and by id of the partner, the value is None
        when nothing is known. Each metric takes one statement.
        """
        return {
            m: getattr(m, f'_measure_{m.kind}')(partners, date)
            for m in metrics}

    def _periods(self, date):
        "Return the first day of the window and of the one before"
        return [
            date - relativedelta(months=self.window_months * i) + _DAY
            for i in [1, 2]]

    @classmethod
    def _interactions(cls, partners, date, since, *columns):
        """Yield the partner and the columns of its interactions

        columns are functions of the table and of the day on which it was
        where the company is.
        """
        pool = Pool()
        Company = pool.get('company.company')
        Interaction = pool.get('prm.interaction')
        cursor = Transaction().connection.cursor()
        interaction = Interaction.__table__()
        company = Company.__table__()
        day = sql_local_date(interaction.date, company.timezone)
        for sub_partners in grouped_slice(partners, _SIZE):
            where = (_in(interaction.partner, list(map(int, sub_partners)))
                & (interaction.state == 'done')
                & (interaction.population != 'staff')
                & (day <= date))
            if since:
                where &= interaction.date >= since - _DAY
            cursor.execute(*interaction
                .join(company, condition=interaction.company == company.id)
                .select(
                    interaction.partner,
                    *(c(interaction, day) for c in columns),
                    where=where,
                    group_by=interaction.partner))
            yield from cursor

    def _measure_recency(self, partners, date):
        # Who was never met counts as the worst
        values = dict.fromkeys(map(int, partners), self.worst)
        for partner, last in self._interactions(
                partners, date, None, lambda i, day: Max(day)):
            if isinstance(last, str):
                last = dt.date.fromisoformat(last)
            values[partner] = Decimal((date - last).days)
        return values

    def _measure_frequency(self, partners, date):
        start, _ = self._periods(date)
        values = dict.fromkeys(map(int, partners), Decimal(0))
        for partner, count in self._interactions(
                partners, date, start,
                lambda i, day: Count(Case((day >= start, i.id)))):
            values[partner] = Decimal(count)
        return values

    def _measure_sentiment(self, partners, date):
        start, before = self._periods(date)
        values = dict.fromkeys(map(int, partners))
        for partner, now, then in self._interactions(
                partners, date, before,
                lambda i, day: Avg(Case((day >= start, i.sentiment))),
                lambda i, day: Avg(Case((
                            (day < start) & (day >= before), i.sentiment)))):
            if now is not None and then is not None:
                values[partner] = (
                    Decimal(str(now)) - Decimal(str(then))).quantize(_CENT)
        return values

    def _measure_revenue(self, partners, date):
        pool = Pool()
        Partner = pool.get('prm.partner')
        start, before = self._periods(date)
        values = {}
        for partner, (now, then) in Partner.revenue_of(
                partners,
                [(start, date), (before, start - _DAY)]).items():
            if then > 0:
                value = (100 * (now - then) / then).quantize(_CENT)
            elif now > 0:
                value = self.best
            else:
                value = None
            values[partner] = value
        return values

    def _measure_overdue(self, partners, date):
        "What the party has to pay since before the date"
        pool = Pool()
        Account = pool.get('account.account')
        AccountType = pool.get('account.account.type')
        Move = pool.get('account.move')
        Line = pool.get('account.move.line')
        account = Account.__table__()
        account_type = AccountType.__table__()
        move = Move.__table__()
        line = Line.__table__()

        def query(partner):
            return (partner
                .join(line, condition=line.party == partner.party)
                .join(move,
                    condition=(line.move == move.id)
                    & (move.company == partner.company))
                .join(account, condition=line.account == account.id)
                .join(account_type, condition=account.type == account_type.id)
                .select(
                    partner.id, sql_sum(line.debit - line.credit),
                    where=(line.reconciliation == Null)
                    & (account_type.receivable == Literal(True))
                    & (move.state == 'posted')
                    & (Coalesce(line.maturity_date, move.date) < date),
                    group_by=partner.id))
        return {
            p: max(a, Decimal(0))
            for p, a in self._amounts(partners, query).items()}

    def _measure_gestures(self, partners, date):
        "What the granted gestures reduce in the reviews"
        pool = Pool()
        Concession = pool.get('prm.concession')
        start, _ = self._periods(date)

        def query(partner):
            concession = Concession.__table__()
            imputed = Concession.imputed_query()
            return (partner
                .join(concession,
                    condition=(concession.party == partner.party)
                    & (concession.company == partner.company))
                .join(imputed, condition=imputed.concession == concession.id)
                .select(
                    partner.id, sql_sum(imputed.amount),
                    where=(imputed.date >= start) & (imputed.date <= date),
                    group_by=partner.id))
        return self._amounts(partners, query)

    @classmethod
    def _amounts(cls, partners, query):
        "Return the amount of each partner from the query of their table"
        pool = Pool()
        Partner = pool.get('prm.partner')
        cursor = Transaction().connection.cursor()
        values = dict.fromkeys(map(int, partners), Decimal(0))
        for sub_partners in grouped_slice(partners, _SIZE):
            partner = Partner.__table__()
            select = query(partner)
            select.where &= _in(partner.id, list(map(int, sub_partners)))
            cursor.execute(*select)
            for id_, amount in cursor:
                values[id_] = Decimal(str(amount or 0)).quantize(_CENT)
        return values


def _format(number):
    return Pool().get('ir.lang').get().format_number(number, 2)
