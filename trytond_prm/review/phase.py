# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from sql import Literal
from sql.aggregate import Count
from sql.conditionals import Case

from trytond.model import ModelView, fields
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool
from trytond.transaction import Transaction

from .month import Figures
from .separation import PHASES, phase_rows

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
        help="The months from the one of the first milestone to the one of "
        "the last payment are during the separation.")
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
        Month = pool.get('prm.review.month')
        context = Transaction().context
        rows = phase_rows(
            context.get('start_date'), context.get('end_date') or Date.today())
        return rows.select(
            (rows.separation * Literal(len(PHASES)) + rows.phase).as_('id'),
            rows.separation,
            rows.company,
            Case(
                *((rows.phase == i, phase)
                    for i, phase in enumerate(PHASES))).as_('phase'),
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
