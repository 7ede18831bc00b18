# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from collections import namedtuple
from decimal import Decimal

from dateutil.relativedelta import relativedelta
from sql import Literal, Window
from sql.aggregate import Count, Max, Sum
from sql.conditionals import Case

from trytond.model import fields
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool
from trytond.pyson import Date as PYSONDate
from trytond.pyson import Eval, If

from ..model import MonthMixin
from ..tools import split, sql_amount, sql_ratio
from .report import PerformanceContext, Report

Month = namedtuple('Month', ['date', 'target', 'actual'])
Smoothing = namedtuple('Smoothing', ['level', 'smoothing', 'troughs'])


def smoothing(months):
    """Return the Smoothing of a sequence of Month

    The level is the highest target of the months, the smoothing is
    Σ min(actual, level) / (n × level) over the n months, rounded to 6
    digits, and the troughs are the pairs of date and of what the actual
    lacks to reach the level. The level and the smoothing are None without
    any target above zero.
    """
    level = max((month.target for month in months), default=0)
    if level <= 0:
        return Smoothing(None, None, [])
    filled = sum(min(month.actual, level) for month in months)
    troughs = [
        (month.date, level - month.actual)
        for month in months if month.actual < level]
    return Smoothing(
        level, round(filled / (len(months) * level), 6), troughs)


class SmoothingMonth(MonthMixin, Report):
    __name__ = 'prm.smoothing'
    __string__ = "Smoothing"

    target = Monetary("Target", currency='currency', digits='currency')
    actual = Monetary(
        "Actual", currency='currency', digits='currency',
        help="The posted invoice lines less the credit notes, by invoice "
        "date.")
    level = Monetary(
        "Level", currency='currency', digits='currency',
        help="The highest monthly target of the period.")
    trough = Monetary(
        "Trough", currency='currency', digits='currency',
        help="What the actual of the month lacks to reach the level.")
    smoothing = fields.Numeric(
        "Smoothing", digits=(16, 6),
        help="The share of the level that the actual of the months of the "
        "period fills; what exceeds the level does not count.")
    actions = fields.Function(
        fields.Many2Many('prm.plan.action', None, None, "Filling Actions",
            help="The actions that fill the month, the one that brings the "
            "most by trough first."),
        'get_actions')
    expected = fields.Function(Monetary(
            "Expected", currency='currency', digits='currency',
            help="The expected revenue of the filling actions, each split "
            "equally between the months it fills."),
        'get_actions')
    obtained = fields.Function(Monetary(
            "Obtained", currency='currency', digits='currency',
            help="The obtained revenue of the filling actions, each split "
            "equally between the months it fills."),
        'get_actions')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._order = [('date', 'ASC'), ('id', 'ASC')]

    @classmethod
    def table_query(cls):
        pool = Pool()
        Performance = pool.get('prm.performance')
        months = Performance.months_query()
        window = Window(cls._window(months))
        level = Max(months.target, window=window)
        leveled = months.select(
            *cls._key_columns(months),
            months.target.as_('target'),
            months.actual.as_('actual'),
            level.as_('level'),
            *(expression.as_(f'partition{i}')
                for i, expression in enumerate(cls._window(months))),
            where=months.has_target > 0)
        window = Window([
                getattr(leveled, f'partition{i}')
                for i in range(len(cls._window(months)))])
        filled = Case(
            (leveled.actual < leveled.level, leveled.actual),
            else_=leveled.level)
        return leveled.select(
            *(getattr(leveled, name).as_(name) for name in [
                    'id', 'company', 'scope', 'measure', 'date', 'team',
                    'employee', 'partner', 'category', 'territory']),
            sql_amount(leveled.target).as_('target'),
            sql_amount(leveled.actual).as_('actual'),
            sql_amount(leveled.level).as_('level'),
            sql_amount(leveled.level - filled).as_('trough'),
            sql_ratio(
                Sum(filled, window=window),
                Count(Literal(1), window=window) * leveled.level,
                6).as_('smoothing'),
            where=leveled.level > 0)

    @classmethod
    def get_actions(cls, months, names):
        pool = Pool()
        Action = pool.get('prm.plan.action')
        result = {
            'actions': {m.id: [] for m in months},
            'expected': {m.id: Decimal(0) for m in months},
            'obtained': {m.id: Decimal(0) for m in months},
            }
        company_months = {
            (m.company, m.date): m for m in months
            if m.scope == 'company' and m.measure == 'revenue'}
        if company_months:
            dates = [date for _, date in company_months]
            actions = Action.search([
                    ('plan.company', 'in',
                        list({c.id for c, _ in company_months})),
                    ('plan.start_date', '<=', max(dates) + relativedelta(
                            day=31)),
                    ('plan.end_date', '>=', min(dates)),
                    ('state', 'in', ['planned', 'running', 'done']),
                    ])
        else:
            actions = []
        ranks = {a.id: a.trough_expected or Decimal(0) for a in actions}
        for action in sorted(
                actions, key=lambda a: ranks[a.id], reverse=True):
            dates = action.filled_dates
            if not dates:
                continue
            parts = zip(dates, *(
                    split(
                        amount or Decimal(0), len(dates),
                        action.currency.round)
                    for amount in [
                        action.expected_revenue, action.obtained_revenue]))
            for date, expected, obtained in parts:
                if month := company_months.get((action.company, date)):
                    result['actions'][month.id].append(action.id)
                    result['expected'][month.id] += expected
                    result['obtained'][month.id] += obtained
        return {name: result[name] for name in names}

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            ('/tree/field[@name="trough"]', 'visual',
                If(Eval('date', PYSONDate()) > PYSONDate(), '',
                    If(Eval('trough', 0) > 0, 'warning', 'success'))),
            # A graph draws the months to come at zero otherwise
            ('/graph/y/field[@name="actual"]', 'domain',
                Eval('date', PYSONDate()) <= PYSONDate()),
            ]


class SmoothingContext(PerformanceContext):
    __name__ = 'prm.smoothing.context'
    __string__ = "Smoothing Context"

    @classmethod
    def default_scope(cls):
        return super().default_scope() or 'company'

    @classmethod
    def default_measure(cls):
        return super().default_measure() or 'revenue'
