# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from decimal import Decimal
from typing import NamedTuple

from sql.aggregate import Sum

from trytond import backend
from trytond.i18n import gettext
from trytond.model import fields
from trytond.pool import Pool, PoolMeta
from trytond.tools import sqlite_apply_types
from trytond.transaction import Transaction

from .allocation import allocation_query
from .share_report import _ShareReport


class StatementRow(NamedTuple):
    date: object
    kind: str
    instalment: object
    owed: Decimal
    settled: Decimal
    balance: Decimal


class Buyback(metaclass=PoolMeta):
    __name__ = 'prm.buyback'

    @classmethod
    def get_statements(cls, buybacks):
        """Return what was owed and settled, and the balance, by buyback

        The amounts are in the currency of the buyback. The interest is owed
        at its due date, the rest from the entry of the debt on.
        """
        movements = {b.id: [] for b in buybacks}
        for buyback in buybacks:
            if buyback.route == 'third_party':
                if not buyback.owed:
                    continue
                for instalment in buyback.instalments:
                    movements[buyback.id].append((
                            buyback.recognition_date, 0, 'principal',
                            instalment.id, instalment.amount, Decimal(0)))
                    if instalment.confirmed_date:
                        movements[buyback.id].append((
                                instalment.confirmed_date, 1, 'payment',
                                instalment.id, Decimal(0),
                                instalment.amount))
                continue
            owed = {
                m.move for m in buyback.moves
                if m.kind in {'recognition', 'earn_out', 'interest'}}
            for instalment in buyback.instalments:
                for portion in instalment.lines:
                    # The former amounts of an earn-out are not owed any more
                    if (portion.line.move in owed
                            and (instalment.kind != 'earn_out'
                                or portion.line == instalment.line)):
                        movements[buyback.id].append((
                                portion.line.move.date, 0, portion.nature,
                                instalment.id, portion.amount, Decimal(0)))
            if buyback.state == 'cancelled' and movements[buyback.id]:
                movements[buyback.id].clear()
        cls._add_settled(buybacks, movements)
        statements = {}
        for buyback in buybacks:
            instalments = {i.id: i for i in buyback.instalments}
            balance = buyback.currency.round(Decimal(0))
            rows = statements[buyback.id] = []
            for date, _, kind, instalment, owed, settled in sorted(
                    movements[buyback.id], key=lambda m: (
                        m[0], m[1], instalments[m[3]].sequence or 0)):
                balance += owed - settled
                rows.append(StatementRow(
                        date, kind, instalments[instalment], owed, settled,
                        balance))
        return statements

    @classmethod
    def _add_settled(cls, buybacks, movements):
        cursor = Transaction().connection.cursor()
        currencies = {b.id: b.currency for b in buybacks}
        buybacks = [b for b in buybacks if b.owed]
        query = allocation_query(buybacks)
        query = query.select(
            query.buyback.as_('buyback'),
            query.instalment.as_('instalment'),
            query.date.as_('date'),
            query.category.as_('category'),
            Sum(query.amount).as_('amount'),
            where=fields.SQL_OPERATORS['in'](
                query.buyback, [b.id for b in buybacks])
            & query.posted & query.category.in_(['payment', 'waiver']),
            group_by=[
                query.buyback, query.instalment, query.date, query.category,
                query.line])
        if backend.name == 'sqlite':
            sqlite_apply_types(query, [None, None, 'DATE', None, 'NUMERIC'])
        cursor.execute(*query)
        for buyback, instalment, date, category, amount in cursor:
            amount = currencies[buyback].round(Decimal(str(amount)))
            movements[buyback].append(
                (date, 1, category, instalment, Decimal(0), amount))


class _BuybackReport(_ShareReport):

    @classmethod
    def header_key(cls, record, data):
        return super().header_key(record, data) + (
            ('company', record.company),
            ('party', record.party),
            ('record', record),
            )

    @classmethod
    def _get_execute_context(cls, records, header, data):
        context = {'company': header['company'].id}
        if lang := header['party'].lang:
            context['language'] = lang.code
            for record in records:
                record.set_lang(lang)
        return context

    @classmethod
    def get_context(cls, records, header, data):
        pool = Pool()
        Date = pool.get('ir.date')
        context = super().get_context(records, header, data)
        context['today'] = Date.today()
        context['company'] = header['company']
        context['party'] = header['party']
        context['record'] = header['record']
        context['format_money'] = cls.format_money
        return context

    @classmethod
    def format_money(cls, amount, currency, digits=None):
        if amount is None:
            return ''
        return cls.format_currency(amount, None, currency, digits=digits)

    @classmethod
    def format_rate(cls, rate):
        return gettext('prm.msg_share_percentage',
            percentage=cls.format_number(rate * 100, None, digits=2))


class BuybackSchedule(_BuybackReport):
    __name__ = 'prm.buyback.schedule'

    @classmethod
    def get_context(cls, records, header, data):
        context = super().get_context(records, header, data)
        context['format_rate'] = cls.format_rate
        instalments = header['record'].instalments
        for name in ['principal', 'interest', 'amount']:
            context[f'total_{name}'] = sum(
                (getattr(i, name) for i in instalments), Decimal(0))
        return context


class BuybackStatement(_BuybackReport):
    __name__ = 'prm.buyback.statement'

    @classmethod
    def get_context(cls, records, header, data):
        context = super().get_context(records, header, data)
        buyback = header['record']
        context['rows'] = buyback.get_statements([buyback])[buyback.id]
        return context


class BuybackPaymentNotice(_BuybackReport):
    __name__ = 'prm.buyback.payment_notice'


class BuybackNotice(_BuybackReport):
    __name__ = 'prm.buyback.notice'
