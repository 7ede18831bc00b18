# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from decimal import Decimal

from sql import Cast, Literal, Null
from sql.conditionals import Case, Coalesce
from sql.functions import Extract

from trytond.model import Index, fields
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval
from trytond.tools import grouped_slice
from trytond.transaction import Transaction

from ..tools import sql_month, sql_round, sql_sum

_in = fields.SQL_OPERATORS['in']
_SIZE = 10_000  # values of an IN that every database accepts
_OPEN_STATES = ['lead', 'opportunity', 'converted']


class Opportunity(metaclass=PoolMeta):
    __name__ = 'sale.opportunity'

    expected_close_date = fields.Date(
        "Expected Close Date",
        states={
            'readonly': ~Eval('state').in_(_OPEN_STATES),
            },
        help="When the opportunity is expected to be won.\n"
        "Unlike the end date, it stays when the opportunity is closed.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls._sql_indexes.add(
            Index(t,
                (t.company, Index.Range()),
                (t.expected_close_date, Index.Range()),
                where=t.state.in_(_OPEN_STATES)))

    @fields.depends('end_date', 'expected_close_date')
    def on_change_end_date(self):
        if self.end_date and not self.expected_close_date:
            self.expected_close_date = self.end_date

    @classmethod
    def preprocess_values(cls, mode, values):
        values = super().preprocess_values(mode, values)
        if (mode == 'create'
                and values.get('end_date')
                and not values.get('expected_close_date')):
            values['expected_close_date'] = values['end_date']
        return values


class Pipeline(metaclass=PoolMeta):
    __name__ = 'prm.pipeline'

    @classmethod
    def deals_query(cls):
        """Return the SQL query of the open opportunities

        Each amount is multiplied by its probability and rounded, then
        converted into the currency of the company at the rate of its start
        date. Without any expected date, the start date stands for it.
        """
        pool = Pool()
        Company = pool.get('company.company')
        Currency = pool.get('currency.currency')
        Opportunity = pool.get('sale.opportunity')
        opportunity = Opportunity.__table__()
        company = Company.__table__()
        currency = Currency.__table__()
        company_currency = Currency.__table__()
        rate = Currency.currency_rate_sql()
        company_rate = Currency.currency_rate_sql()

        def at_start(rate):
            return ((rate.start_date <= opportunity.start_date)
                & ((rate.end_date == Null)
                    | (rate.end_date > opportunity.start_date)))

        def in_company(amount):
            return Case(
                (opportunity.currency == company.currency, amount),
                else_=sql_round(
                    amount * company_rate.rate / rate.rate,
                    company_currency.rounding))

        date = sql_month(Coalesce(
                opportunity.expected_close_date,
                opportunity.end_date,
                opportunity.start_date))
        weighted_amount = sql_round(
            opportunity.amount
            * Cast(opportunity.conversion_probability, 'NUMERIC'),
            currency.rounding)
        return (opportunity
            .join(company, condition=opportunity.company == company.id)
            .join(currency, condition=opportunity.currency == currency.id)
            .join(company_currency,
                condition=company.currency == company_currency.id)
            .join(rate, 'LEFT',
                condition=(rate.currency == opportunity.currency)
                & at_start(rate))
            .join(company_rate, 'LEFT',
                condition=(company_rate.currency == company.currency)
                & at_start(company_rate))
            .select(
                opportunity.company.as_('company'),
                opportunity.id.as_('opportunity'),
                date.as_('date'),
                opportunity.party.as_('party'),
                opportunity.employee.as_('employee'),
                in_company(opportunity.amount).as_('amount'),
                in_company(weighted_amount).as_('weighted_amount'),
                where=opportunity.state.in_(_OPEN_STATES)
                & (opportunity.amount != Null)))

    @classmethod
    def table_query(cls):
        "Return the sum of the open opportunities by expected month"
        amounts = cls.deals_query()
        return amounts.select(
            # Unique by company and month and known before grouping
            (amounts.company * Literal(1_000_000)
                + Cast(Extract('YEAR', amounts.date), 'INTEGER') * 100
                + Cast(Extract('MONTH', amounts.date), 'INTEGER')
                ).as_('id'),
            amounts.company.as_('company'),
            amounts.date.as_('date'),
            sql_sum(amounts.amount).as_('amount'),
            sql_sum(amounts.weighted_amount).as_('weighted_amount'),
            group_by=[amounts.company, amounts.date])


class Partner(metaclass=PoolMeta):
    __name__ = 'prm.partner'

    pipeline = fields.Function(Monetary(
            "Pipeline", currency='currency', digits='currency',
            help="The sum of the amounts of the open opportunities of the "
            "party."),
        'get_pipeline')
    weighted_pipeline = fields.Function(Monetary(
            "Weighted Pipeline", currency='currency', digits='currency',
            help="The sum of the amounts of the open opportunities of the "
            "party, each multiplied by its probability and rounded."),
        'get_pipeline')

    @classmethod
    def get_pipeline(cls, partners, names):
        pool = Pool()
        Pipeline = pool.get('prm.pipeline')
        cursor = Transaction().connection.cursor()
        columns = {
            'pipeline': 'amount', 'weighted_pipeline': 'weighted_amount'}
        values = {
            n: dict.fromkeys(map(int, partners), Decimal(0)) for n in names}
        for sub_partners in grouped_slice(partners, _SIZE):
            partner = cls.__table__()
            amounts = Pipeline.deals_query()
            cursor.execute(*partner
                .join(amounts,
                    condition=(amounts.party == partner.party)
                    & (amounts.company == partner.company))
                .select(
                    partner.id,
                    *(sql_sum(getattr(amounts, columns[n])) for n in names),
                    where=_in(partner.id, list(map(int, sub_partners))),
                    group_by=partner.id))
            for id_, *sums in cursor:
                for name, amount in zip(names, sums):
                    values[name][id_] = Decimal(str(amount))
        for partner in partners:
            for name in names:
                values[name][partner.id] = partner.company.currency.round(
                    values[name][partner.id])
        return values
