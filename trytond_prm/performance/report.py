# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from sql import Cast, Null
from sql.conditionals import Case
from sql.functions import Extract

from trytond.model import ModelSQL, ModelView, fields
from trytond.pool import Pool
from trytond.pyson import Eval, If
from trytond.transaction import Transaction

from ..model import AmountsMixin
from .target import (
    BASE_MEASURES, MEASURES, MONEY_MEASURES, SCOPES, search_subject)


class Report(AmountsMixin, ModelSQL, ModelView):

    company = fields.Many2One('company.company', "Company")
    scope = fields.Selection(SCOPES, "Scope", sort=False)
    measure = fields.Selection(BASE_MEASURES, "Measure", sort=False)
    team = fields.Many2One(
        'prm.team', "Team",
        states={
            'invisible': Eval('scope') != 'team',
            })
    employee = fields.Many2One(
        'company.employee', "Employee",
        states={
            'invisible': Eval('scope') != 'employee',
            })
    partner = fields.Many2One(
        'prm.partner', "Partner",
        states={
            'invisible': Eval('scope') != 'partner',
            })
    category = fields.Many2One(
        'product.category', "Category",
        states={
            'invisible': Eval('scope') != 'category',
            },
        context={
            'company': Eval('company', -1),
            },
        depends={'company'})
    territory = fields.Many2One(
        'prm.territory', "Territory",
        states={
            'invisible': Eval('scope') != 'territory',
            })
    subject_name = fields.Function(
        fields.Char(
            "Entity",
            help="The company, team, employee, partner, category or "
            "territory whose result is measured."),
        'get_subject_name', searcher='search_rec_name')
    date = fields.Date("Month", help="The first day of the month.")
    currency = fields.Function(
        fields.Many2One('currency.currency', "Currency"),
        'on_change_with_currency')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._order = [
            ('date', 'ASC'),
            ('scope', 'ASC'),
            ('id', 'ASC'),
            ]

    @fields.depends('company', 'measure')
    def on_change_with_currency(self, name=None):
        if self.company and self.measure in MONEY_MEASURES:
            return self.company.currency

    @property
    def subject(self):
        "The record whose result is measured"
        return getattr(self, self.scope)

    def get_subject_name(self, name):
        return self.subject.rec_name

    def get_rec_name(self, name):
        pool = Pool()
        Lang = pool.get('ir.lang')
        return (f"{self.subject.rec_name} "
            f"{Lang.get().strftime(self.date, '%m/%Y')}")

    @classmethod
    def search_rec_name(cls, name, clause):
        return search_subject(clause)

    @classmethod
    def _key_columns(cls, months):
        "The columns of the identifier and the key from the months query"
        return [
            cls._column_id(months).as_('id'),
            months.company.as_('company'),
            months.scope.as_('scope'),
            months.measure.as_('measure'),
            *(Case((months.scope == scope, months.subject),
                    else_=Null).as_(scope)
                for scope, _ in SCOPES if scope != 'company'),
            months.date.as_('date'),
            ]

    @classmethod
    def _column_id(cls, months):
        # Neither the context nor new rows change the identifier of a month:
        # 12 bits for the month, 3 for the measure, 3 for the scope.
        def code(column, selection):
            return Case(*(
                    (column == value, i)
                    for i, (value, _) in enumerate(selection)))
        subject = Cast(months.subject, 'BIGINT')
        # A category may be of several companies.
        identifier = Case(
            (months.scope == 'category',
                Cast(months.company, 'BIGINT') * 2 ** 22 + subject),
            else_=subject)
        identifier = identifier * 8 + code(months.scope, SCOPES)
        identifier = identifier * 8 + code(months.measure, MEASURES)
        return (identifier * 4096
            + (Cast(Extract('YEAR', months.date), 'BIGINT') - 1850) * 12
            + Cast(Extract('MONTH', months.date), 'BIGINT'))

    @classmethod
    def _window(cls, months):
        """Return the partition of the cumulated columns

        It is the range of the context if it has a start date, else each
        calendar year.
        """
        partition = [
            months.company, months.scope, months.subject, months.measure]
        if not Transaction().context.get('start_date'):
            partition.append(Extract('YEAR', months.date))
        return partition


class PerformanceContext(ModelView):
    __name__ = 'prm.performance.context'
    __string__ = "Sales Performance Context"

    company = fields.Many2One('company.company', "Company", required=True)
    start_date = fields.Date(
        "Start Date",
        domain=[
            If(Eval('start_date') & Eval('end_date'),
                ('start_date', '<=', Eval('end_date')),
                ()),
            ],
        help="The amounts are cumulated from this date, "
        "or from the first of January of each year when empty.")
    end_date = fields.Date(
        "End Date",
        domain=[
            If(Eval('start_date') & Eval('end_date'),
                ('end_date', '>=', Eval('start_date')),
                ()),
            ])
    scope = fields.Selection(
        [(None, "")] + SCOPES, "Scope", sort=False,
        help="Those that have a target when empty.")
    team = fields.Many2One(
        'prm.team', "Team",
        domain=[('company', '=', Eval('company', -1))],
        states={
            'invisible': Eval('scope') != 'team',
            })
    employee = fields.Many2One(
        'company.employee', "Employee",
        domain=[('company', '=', Eval('company', -1))],
        context={
            'active_test': False,
            },
        states={
            'invisible': Eval('scope') != 'employee',
            })
    partner = fields.Many2One(
        'prm.partner', "Partner",
        domain=[('company', '=', Eval('company', -1))],
        states={
            'invisible': Eval('scope') != 'partner',
            })
    category = fields.Many2One(
        'product.category', "Category",
        states={
            'invisible': Eval('scope') != 'category',
            },
        context={
            'company': Eval('company', -1),
            },
        depends={'company'})
    territory = fields.Many2One(
        'prm.territory', "Territory",
        domain=[('company', '=', Eval('company', -1))],
        states={
            'invisible': Eval('scope') != 'territory',
            })
    measure = fields.Selection(
        [(None, "")] + BASE_MEASURES, "Measure", sort=False,
        help="The revenue, and the others that have a target, when empty.")

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @classmethod
    def default_start_date(cls):
        return cls._default_date('start_date', month=1, day=1)

    @classmethod
    def default_end_date(cls):
        return cls._default_date('end_date', month=12, day=31)

    @classmethod
    def default_scope(cls):
        return Transaction().context.get('scope')

    @classmethod
    def default_measure(cls):
        return Transaction().context.get('measure')

    @classmethod
    def _default_date(cls, name, **replace):
        "Return the date of the context or of the present year"
        pool = Pool()
        Target = pool.get('prm.target')
        context = Transaction().context
        if name in context:
            return context[name]
        return Target.get_present().replace(**replace)
