# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from decimal import Decimal

from sql import Null
from sql.aggregate import Sum

from trytond.i18n import gettext
from trytond.model import (
    DeactivableMixin, Index, ModelSQL, ModelView, Unique, fields)
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool, PoolMeta
from trytond.transaction import Transaction

from ..tools import sql_reference
from .exceptions import BuybackTermsError


class Duty(DeactivableMixin, ModelSQL, ModelView):
    __name__ = 'prm.buyback.duty'
    __string__ = "Registration Duty"

    name = fields.Char("Name", required=True, translate=True)
    currency = fields.Many2One(
        'currency.currency', "Currency", required=True,
        help="The currency of the allowance and of the minimum.")
    rates = fields.One2Many(
        'prm.buyback.duty.rate', 'duty', "Rates",
        help="The rates by date from which they apply.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._order.insert(0, ('name', 'ASC'))

    @classmethod
    def default_currency(cls):
        pool = Pool()
        Company = pool.get('company.company')
        if company := Transaction().context.get('company'):
            return Company(company).currency.id

    def get_rate(self, date):
        "Return the rate that applies on the date or None"
        return max(
            (r for r in self.rates if r.start_date <= date),
            key=lambda r: r.start_date, default=None)


class DutyRate(ModelSQL, ModelView):
    __name__ = 'prm.buyback.duty.rate'
    __string__ = "Registration Duty Rate"

    duty = fields.Many2One(
        'prm.buyback.duty', "Registration Duty", required=True,
        ondelete='CASCADE')
    start_date = fields.Date(
        "Start Date", required=True,
        help="The first date of signature on which the rate applies.")
    rate = fields.Numeric(
        "Rate", digits=(None, 6), required=True,
        domain=[
            ('rate', '>=', 0),
            ],
        help="The part of the price that is due.")
    allowance = Monetary(
        "Allowance", currency='currency', digits='currency',
        domain=['OR',
            ('allowance', '=', None),
            ('allowance', '>=', 0),
            ],
        help="What is deducted from the price of all the shares of the "
        "company, in proportion of those sold.")
    minimum = Monetary(
        "Minimum", currency='currency', digits='currency',
        domain=['OR',
            ('minimum', '=', None),
            ('minimum', '>=', 0),
            ],
        help="The amount due at least.")
    currency = fields.Function(fields.Many2One(
            'currency.currency', "Currency"),
        'on_change_with_currency')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('duty')
        table = cls.__table__()
        cls._sql_constraints += [
            ('start_date_unique',
                Unique(table, table.duty, table.start_date),
                'prm.msg_buyback_duty_rate_unique'),
            ]
        cls._sql_indexes.add(
            Index(table,
                (table.duty, Index.Equality()),
                (table.start_date, Index.Range(order='DESC'))))
        cls._order = [('start_date', 'DESC'), ('id', None)]

    @fields.depends('duty', '_parent_duty.currency')
    def on_change_with_currency(self, name=None):
        return self.duty.currency if self.duty else None

    def get_rec_name(self, name):
        return f'{self.duty.rec_name} @ {self.start_date}'

    @classmethod
    def search_rec_name(cls, name, clause):
        return [('duty.rec_name', *clause[1:])]

    def compute(self, price, quantity, total):
        """Return the duty on the price in the currency of the duty

        The quantity is the one sold out of the total of the shares.
        """
        base = price
        if self.allowance and total:
            base -= self.allowance * quantity / total
        amount = max(base, Decimal(0)) * self.rate
        return self.currency.round(max(amount, self.minimum or Decimal(0)))


class Buyback(metaclass=PoolMeta):
    __name__ = 'prm.buyback'

    @classmethod
    def get_duty_amount(cls, buybacks, name):
        pool = Pool()
        Currency = pool.get('currency.currency')
        result = dict.fromkeys(map(int, buybacks))
        buybacks = [b for b in buybacks if b.duty and b.signature_date]
        if not buybacks:
            return result
        totals = cls._get_total_shares(buybacks)
        for buyback in buybacks:
            move = buyback.move
            if move:
                result[buyback.id] = sum(
                    (l.credit - l.debit for l in move.lines
                        if l.account == buyback.account_duty_payable),
                    Decimal(0))
                continue
            duty = buyback.duty
            company_currency = buyback.company.currency
            if rate := duty.get_rate(buyback.signature_date):
                with Transaction().set_context(date=buyback.signature_date):
                    amount = rate.compute(
                        Currency.compute(
                            buyback.currency, buyback.price, duty.currency),
                        buyback.quantity, totals.get(buyback.id))
                    result[buyback.id] = Currency.compute(
                        duty.currency, amount, company_currency)
        return result

    @classmethod
    def _get_total_shares(cls, buybacks):
        "Return the number of shares of the company at the signature by id"
        pool = Pool()
        ShareTransaction = pool.get('prm.share.transaction')
        cursor = Transaction().connection.cursor()
        table = cls.__table__()
        legs = ShareTransaction.legs_query()
        transaction = ShareTransaction.__table__()
        # The shares that the buyback cancels are still sold
        own = transaction.origin == sql_reference('prm.buyback', table.id)
        cursor.execute(*table
            .join(legs, condition=(
                    (legs.company == table.company)
                    & (legs.date <= table.signature_date)))
            .join(transaction, condition=legs.transaction == transaction.id)
            .select(
                table.id, Sum(legs.quantity),
                where=fields.SQL_OPERATORS['in'](
                    table.id, [b.id for b in buybacks])
                & ((transaction.origin == Null) | ~own),
                group_by=[table.id]))
        return dict(cursor)

    @classmethod
    def _check_schedule(cls, buybacks):
        pool = Pool()
        Lang = pool.get('ir.lang')
        super()._check_schedule(buybacks)
        for buyback in buybacks:
            if (buyback.duty
                    and not buyback.duty.get_rate(buyback.signature_date)):
                raise BuybackTermsError(
                    gettext('prm.msg_buyback_duty_rate',
                        buyback=buyback.rec_name,
                        duty=buyback.duty.rec_name,
                        date=Lang.get().strftime(buyback.signature_date)))
