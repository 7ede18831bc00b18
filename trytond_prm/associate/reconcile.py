# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from collections import defaultdict

from trytond.model import ModelView, fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval
from trytond.tools import grouped_slice
from trytond.transaction import Transaction

from .allocation import allocation_query


class Buyback(metaclass=PoolMeta):
    __name__ = 'prm.buyback'

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._buttons.update({
                'reconcile': {
                    'invisible': (
                        (Eval('state') != 'running')
                        | (Eval('route') == 'third_party')),
                    'icon': 'tryton-link',
                    'depends': ['state', 'route'],
                    },
                })

    @classmethod
    @ModelView.button
    def reconcile(cls, buybacks):
        """Reconcile the lines with the payments that pay them exactly

        The exchange difference is posted at the date of the last payment.
        """
        pool = Pool()
        Line = pool.get('account.move.line')
        Portion = pool.get('prm.buyback.instalment.line')
        cursor = Transaction().connection.cursor()
        pairs = set()
        for sub_buybacks in grouped_slice(buybacks, 1000):
            sub_buybacks = list(sub_buybacks)
            query = allocation_query(sub_buybacks)
            portion = Portion.__table__()
            cursor.execute(*query
                .join(portion, condition=query.due == portion.id)
                .select(
                    portion.line, query.line,
                    where=fields.SQL_OPERATORS['in'](
                        query.buyback, [b.id for b in sub_buybacks])
                    & query.posted & query.kind.in_(
                        ['open', 'linked', 'owned'])))
            pairs.update(cursor)
        groups = {}
        for due, payment in pairs:
            group = groups.get(due, {due}) | groups.get(payment, {payment})
            for line in group:
                groups[line] = group
        payments = {p for _, p in pairs}
        lines = {l.id: l for l in Line.browse(list(groups))}
        dates = defaultdict(list)
        for group in {frozenset(g) for g in groups.values()}:
            group = [lines[i] for i in sorted(group)]
            if not sum(
                    l.amount_second_currency if l.second_currency
                    else l.debit - l.credit for l in group):
                date = max(l.move.date for l in group if l.id in payments)
                dates[date].append(group)
        for date, to_reconcile in sorted(dates.items()):
            Line.reconcile(*to_reconcile, date=date)
