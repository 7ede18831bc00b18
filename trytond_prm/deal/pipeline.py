# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from sql import Cast, Literal, Null

from trytond.model import ModelSQL, ModelView, fields
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool

from ..model import MonthMixin


class Pipeline(MonthMixin, ModelSQL, ModelView):
    "What the open opportunities promise, by expected month"
    __name__ = 'prm.pipeline'
    __string__ = "Pipeline"

    company = fields.Many2One('company.company', "Company")
    date = fields.Date(
        "Month",
        help="The first day of the month in which the deals are expected.")
    currency = fields.Function(fields.Many2One(
            'currency.currency', "Currency"),
        'on_change_with_currency')
    amount = Monetary(
        "Amount", currency='currency', digits='currency',
        help="The sum of the amounts of the opportunities.")
    weighted_amount = Monetary(
        "Weighted Amount", currency='currency', digits='currency',
        help="The sum of the amounts of the opportunities, each multiplied "
        "by its probability and rounded.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._order = [
            ('date', 'ASC'),
            ('id', 'ASC'),
            ]

    @classmethod
    def table_query(cls):
        "Without opportunities, nothing is in the pipeline"
        pool = Pool()
        Company = pool.get('company.company')
        company = Company.__table__()
        return company.select(
            company.id.as_('id'),
            company.id.as_('company'),
            *(getattr(cls, n).sql_cast(Literal(None)).as_(n)
                for n in ['date', 'amount', 'weighted_amount']),
            where=Literal(False))

    @classmethod
    def deals_query(cls):
        """Return the SQL query of the open opportunities

        The columns are company, opportunity, date (the first of the expected
        month), party, employee, amount and weighted_amount, both in the
        currency of the company.
        """
        pool = Pool()
        Company = pool.get('company.company')
        company = Company.__table__()
        return company.select(
            company.id.as_('company'),
            Cast(Null, 'DATE').as_('date'),
            *(Cast(Null, 'INTEGER').as_(n)
                for n in ['opportunity', 'party', 'employee']),
            *(Cast(Null, 'NUMERIC').as_(n)
                for n in ['amount', 'weighted_amount']),
            where=Literal(False))

    @fields.depends('company')
    def on_change_with_currency(self, name=None):
        return self.company.currency if self.company else None
