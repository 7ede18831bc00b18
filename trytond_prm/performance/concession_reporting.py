# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from dateutil.relativedelta import relativedelta
from sql import Cast, Literal, Null, Union
from sql.aggregate import Sum
from sql.conditionals import Coalesce
from sql.functions import Extract

from trytond.model import ModelSQL, ModelView, fields
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool
from trytond.pyson import Eval, If
from trytond.transaction import Transaction

from ..model import AmountsMixin, MonthMixin
from ..tools import sql_amount, sql_exact, sql_month, sql_ratio

_FIGURES = ['number', 'amount', 'cost', 'imputed']


class _Reporting(AmountsMixin, ModelSQL, ModelView):

    company = fields.Many2One('company.company', "Company")
    number = fields.Integer("#", help="The number of granted gestures.")
    amount = Monetary(
        "Amount", currency='currency', digits='currency',
        help="What the gestures are worth at sale price.")
    cost = Monetary(
        "Cost", currency='currency', digits='currency',
        help="What the gestures cost the company, "
        "their amount when their cost is unknown.")
    imputed = Monetary(
        "Imputed", currency='currency', digits='currency',
        help="What the gestures reduce in the reviews: a free service its "
        "cost, a payment delay nothing, the others their amount.")
    revenue = Monetary(
        "Revenue", currency='currency', digits='currency',
        help="The posted invoice lines less the credit notes, by invoice "
        "date, before what the gestures took off them.")
    rate = fields.Numeric(
        "Rate", digits=(16, 4),
        help="What the gestures reduce divided by the revenue.")
    currency = fields.Function(
        fields.Many2One('currency.currency', "Currency"),
        'on_change_with_currency')

    @fields.depends('company')
    def on_change_with_currency(self, name=None):
        return self.company.currency if self.company else None

    @classmethod
    def table_query(cls):
        gestures = cls._gestures_query()
        revenue, withs = cls._revenue_query()
        null = Cast(Null, 'NUMERIC')
        facts = Union(
            gestures.select(
                gestures.company.as_('company'),
                cls._key(gestures).as_('key'),
                *(getattr(gestures, name).as_(name) for name in _FIGURES),
                null.as_('revenue')),
            revenue.select(
                revenue.company.as_('company'),
                cls._key(revenue).as_('key'),
                *(null.as_(name) for name in _FIGURES),
                revenue.amount.as_('revenue')),
            all_=True)
        return cls._select(
            facts, facts.company, facts.key,
            Coalesce(Sum(facts.revenue), 0),
            group_by=[facts.company, facts.key], having=cls._having(facts),
            with_=withs)

    @classmethod
    def _select(cls, from_, company, key, revenue, **kwargs):
        "Return the select of the columns of the model"
        imputed = Coalesce(Sum(from_.imputed), 0)
        return from_.select(
            cls._column_id(company, key).as_('id'),
            company.as_('company'),
            cls._column_key(key),
            Cast(Coalesce(Sum(from_.number), 0), 'INTEGER').as_('number'),
            *(sql_amount(Coalesce(Sum(getattr(from_, name)), 0)).as_(name)
                for name in ['amount', 'cost', 'imputed']),
            sql_amount(revenue).as_('revenue'),
            sql_ratio(imputed, revenue).as_('rate'),
            **kwargs)

    @classmethod
    def _having(cls, facts):
        return Sum(facts.number) > 0

    @classmethod
    def _column_id(cls, company, key):
        return Cast(company, 'BIGINT') * 2 ** 31 + Coalesce(key, 0)

    @classmethod
    def _column_key(cls, key):
        raise NotImplementedError

    @classmethod
    def _key(cls, query):
        raise NotImplementedError

    @classmethod
    def _filter(cls, query, names, date):
        "The condition that the context allows the row"
        context = Transaction().context
        where = Literal(True)
        if start_date := context.get('start_date'):
            where &= date >= start_date
        if end_date := context.get('end_date'):
            where &= date <= end_date
        for name in names:
            if context.get(name):
                where &= getattr(query, name) == context[name]
        return where

    @classmethod
    def _gestures_query(cls):
        "Return the SQL query of the granted gestures of the context"
        pool = Pool()
        Concession = pool.get('prm.concession')
        concession = Concession.__table__()
        attributed = Concession.attributed_query()
        amount = concession.company_amount
        where = (
            (concession.state == 'granted')
            & cls._filter(
                concession, ['company', 'kind', 'reason', 'partner'],
                concession.imputation_date)
            & cls._filter(attributed, ['team'], concession.imputation_date))
        return (concession
            .join(attributed,
                condition=attributed.concession == concession.id)
            .select(
                concession.company.as_('company'),
                concession.imputation_date.as_('date'),
                concession.party.as_('party'),
                concession.reason.as_('reason'),
                attributed.employee.as_('employee'),
                Literal(1).as_('number'),
                sql_exact(amount).as_('amount'),
                sql_exact(Coalesce(concession.company_cost, amount)).as_(
                    'cost'),
                sql_exact(Coalesce(
                        Concession.sql_imputed(concession), 0)).as_(
                    'imputed'),
                where=where))

    @classmethod
    def _revenue_query(cls):
        "Return the SQL query of the revenue and the queries that it needs"
        pool = Pool()
        Performance = pool.get('prm.performance')
        context = Transaction().context
        dates = context.get('start_date'), context.get('end_date')
        names = ['company']
        if cls._is_attributed():
            source, withs = Performance.gross_source(*dates)
            names += ['team', 'partner']
        else:
            gross = Performance.gross_query(*dates)
            source, withs = gross.select(
                gross.company.as_('company'),
                gross.party.as_('party'),
                gross.date.as_('date'),
                Sum(sql_exact(gross.amount)).as_('amount'),
                group_by=[gross.company, gross.party, gross.date]), []
        columns = ['company', 'date', 'party', 'amount']
        if cls._is_attributed():
            columns.append('employee')
        return source.select(
            *(getattr(source, name).as_(name) for name in columns),
            where=cls._filter(source, names, source.date)), withs

    @classmethod
    def _is_attributed(cls):
        "Whether the revenue needs its partner, employee and team"
        context = Transaction().context
        return bool(context.get('team') or context.get('partner'))


class ConcessionMonth(MonthMixin, _Reporting):
    __name__ = 'prm.concession.reporting.month'
    __string__ = "Commercial Gestures per Month"

    date = fields.Date("Month", help="The first day of the month.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._order = [('date', 'ASC'), ('id', 'ASC')]

    @classmethod
    def _key(cls, query):
        return sql_month(query.date)

    @classmethod
    def _having(cls, facts):
        # A month without gestures is worth showing
        return None

    @classmethod
    def _column_id(cls, company, key):
        return (Cast(company, 'BIGINT') * 2 ** 31
            + (Cast(Extract('YEAR', key), 'BIGINT')) * 12
            + Cast(Extract('MONTH', key), 'BIGINT'))

    @classmethod
    def _column_key(cls, key):
        return cls.date.sql_cast(key).as_('date')

    def get_rec_name(self, name):
        pool = Pool()
        Lang = pool.get('ir.lang')
        return Lang.get().strftime(self.date, '%m/%Y')


class ConcessionReason(_Reporting):
    __name__ = 'prm.concession.reporting.reason'
    __string__ = "Commercial Gestures per Reason"

    reason = fields.Many2One('prm.concession.reason', "Reason")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.revenue.help = (
            "The posted invoice lines less the credit notes of the period, "
            "by invoice date, before what the gestures took off them.")
        cls._order = [('imputed', 'DESC'), ('id', 'ASC')]

    @classmethod
    def table_query(cls):
        gestures = cls._gestures_query()
        revenue, withs = cls._revenue_query()
        total = revenue.select(
            revenue.company.as_('company'),
            Sum(revenue.amount).as_('amount'),
            group_by=[revenue.company])
        from_ = (gestures
            .join(total, 'LEFT', condition=total.company == gestures.company)
            .select(
                gestures.company.as_('company'),
                gestures.reason.as_('key'),
                *(getattr(gestures, name).as_(name) for name in _FIGURES),
                Coalesce(total.amount, 0).as_('revenue')))
        return cls._select(
            from_, from_.company, from_.key, from_.revenue,
            group_by=[from_.company, from_.key, from_.revenue], with_=withs)

    @classmethod
    def _column_key(cls, key):
        return key.as_('reason')

    def get_rec_name(self, name):
        return self.reason.rec_name

    @classmethod
    def search_rec_name(cls, name, clause):
        return [('reason.rec_name', *clause[1:])]


class ConcessionParty(_Reporting):
    __name__ = 'prm.concession.reporting.party'
    __string__ = "Commercial Gestures per Customer"

    party = fields.Many2One(
        'party.party', "Customer",
        context={
            'company': Eval('company', -1),
            },
        depends={'company'})

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._order = [('imputed', 'DESC'), ('id', 'ASC')]

    @classmethod
    def _key(cls, query):
        return query.party

    @classmethod
    def _column_key(cls, key):
        return key.as_('party')

    def get_rec_name(self, name):
        return self.party.rec_name

    @classmethod
    def search_rec_name(cls, name, clause):
        return [('party.rec_name', *clause[1:])]


class ConcessionEmployee(_Reporting):
    __name__ = 'prm.concession.reporting.employee'
    __string__ = "Commercial Gestures per Employee"

    employee = fields.Many2One(
        'company.employee', "Employee",
        help="Who submitted the gestures "
        "or else the manager of the partner.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.revenue.help = (
            "The revenue of the partners that the employee manages, "
            "before what the gestures took off it.")
        cls._order = [('imputed', 'DESC'), ('id', 'ASC')]

    @classmethod
    def _is_attributed(cls):
        return True

    @classmethod
    def _key(cls, query):
        return query.employee

    @classmethod
    def _column_key(cls, key):
        return key.as_('employee')

    def get_rec_name(self, name):
        return self.employee.rec_name if self.employee else ''

    @classmethod
    def search_rec_name(cls, name, clause):
        return [('employee.rec_name', *clause[1:])]


class ConcessionReportingContext(ModelView):
    __name__ = 'prm.concession.reporting.context'
    __string__ = "Commercial Gestures Context"

    company = fields.Many2One('company.company', "Company", required=True)
    start_date = fields.Date(
        "Start Date",
        domain=[
            If(Eval('start_date') & Eval('end_date'),
                ('start_date', '<=', Eval('end_date')),
                ()),
            ],
        help="The first imputation date.")
    end_date = fields.Date(
        "End Date",
        domain=[
            If(Eval('start_date') & Eval('end_date'),
                ('end_date', '>=', Eval('start_date')),
                ()),
            ],
        help="The last imputation date.")
    kind = fields.Selection('get_kinds', "Kind", sort=False)
    reason = fields.Many2One('prm.concession.reason', "Reason")
    team = fields.Many2One(
        'prm.team', "Team",
        domain=[
            ('company', '=', Eval('company', -1)),
            ])
    partner = fields.Many2One(
        'prm.partner', "Partner",
        domain=[
            ('company', '=', Eval('company', -1)),
            ])

    @classmethod
    def get_kinds(cls):
        pool = Pool()
        Concession = pool.get('prm.concession')
        kinds = Concession.fields_get(['kind'])['kind']['selection']
        return [(None, "")] + [tuple(k[:2]) for k in kinds]

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @classmethod
    def default_start_date(cls):
        pool = Pool()
        Date = pool.get('ir.date')
        context = Transaction().context
        if 'start_date' in context:
            return context['start_date']
        return Date.today() + relativedelta(months=-11, day=1)

    @classmethod
    def default_end_date(cls):
        return Transaction().context.get('end_date')
