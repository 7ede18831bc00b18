# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from sql import Literal
from sql.aggregate import Count, Max, Min
from sql.conditionals import Case

from trytond.model import ModelView, fields
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool
from trytond.transaction import Transaction

from ..tools import sql_month
from .month import Figures

_PHASES = ['before', 'during', 'after']
_MONTHLY = 'monthly_'


class Phase(Figures, ModelView):
    __name__ = 'prm.separation.phase'
    __string__ = "Phase of Separation"

    separation = fields.Many2One('prm.separation', "Separation")
    phase = fields.Selection([
            ('before', "Before"),
            ('during', "During"),
            ('after', "After"),
            ], "Phase", sort=False,
        help="The months with a day between the first and the last milestone "
        "are during the separation.")
    months = fields.Integer(
        "Months", help="The number of months that have anything.")
    monthly_gross_revenue = fields.Function(Monetary(
            "Monthly Gross Revenue", currency='currency', digits='currency'),
        'get_monthly')
    monthly_concessions = fields.Function(Monetary(
            "Monthly Gestures", currency='currency', digits='currency'),
        'get_monthly')
    monthly_net_revenue = fields.Function(Monetary(
            "Monthly Net Revenue", currency='currency', digits='currency'),
        'get_monthly')
    monthly_imputed_revenue = fields.Function(Monetary(
            "Monthly Imputed Revenue",
            currency='currency', digits='currency'),
        'get_monthly')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._order = [('id', 'ASC')]

    @classmethod
    def table_query(cls):
        pool = Pool()
        Date = pool.get('ir.date')
        Milestone = pool.get('prm.separation.milestone')
        Month = pool.get('prm.review.month')
        Separation = pool.get('prm.separation')
        context = Transaction().context
        items = Month.items(
            start_date=context.get('start_date'),
            end_date=context.get('end_date') or Date.today())
        milestone = Milestone.__table__()
        separation = Separation.__table__()
        periods = (separation
            .join(milestone, condition=milestone.separation == separation.id)
            .select(
                separation.id.as_('separation'),
                separation.company.as_('company'),
                sql_month(Min(milestone.date)).as_('start_month'),
                sql_month(Max(milestone.date)).as_('end_month'),
                group_by=[separation.id, separation.company]))
        month = sql_month(items.date)
        rows = (periods
            .join(items, condition=items.company == periods.company)
            .select(
                periods.separation, periods.company,
                Case(
                    (month < periods.start_month, 0),
                    (month <= periods.end_month, 1),
                    else_=2).as_('phase'),
                month.as_('date'), items.measure, items.value))
        return rows.select(
            (rows.separation * Literal(len(_PHASES)) + rows.phase).as_('id'),
            rows.separation,
            rows.company,
            Case(
                *((rows.phase == i, phase)
                    for i, phase in enumerate(_PHASES))).as_('phase'),
            Count(
                # A target or an expected deal does not make a month happen
                Case((~rows.measure.in_(['target', 'pipeline']), rows.date)),
                distinct=True).as_('months'),
            *(expression.as_(name)
                for name, expression in Month.figures(rows).items()),
            group_by=[rows.separation, rows.company, rows.phase])

    @classmethod
    def get_monthly(cls, phases, names):
        "Return the average of the months in the currency of the company"
        result = {n: {} for n in names}
        for phase in phases:
            for name in names:
                amount = getattr(phase, name[len(_MONTHLY):])
                result[name][phase.id] = (
                    phase.currency.round(amount / phase.months)
                    if phase.months else None)
        return result

    def get_rec_name(self, name):
        return self.phase
