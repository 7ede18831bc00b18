# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from sql import Null

from trytond.model import Index, fields
from trytond.pool import PoolMeta
from trytond.pyson import Eval


class Invoice(metaclass=PoolMeta):
    __name__ = 'account.invoice'

    plan_action = fields.Many2One(
        'prm.plan.action', "Sales Action", ondelete='RESTRICT',
        domain=[('company', '=', Eval('company', -1))],
        states={
            'invisible': Eval('type') != 'out',
            },
        help="The action of the plan that has brought the invoice.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        # It is not accounting: it may be known after the post.
        cls._check_modify_exclude.add('plan_action')
        cls._sql_indexes.add(
            Index(
                t,
                (t.cancel_move, Index.Equality()),
                where=t.state == 'cancelled'))
        cls._sql_indexes.add(
            Index(
                t,
                (t.company, Index.Equality()),
                (t.invoice_date, Index.Range()),
                include=[
                    t.move, t.cancel_move, t.state, t.party, t.currency,
                    t.untaxed_amount_cache],
                # As sql_invoiced
                where=(t.type == 'out')
                & t.state.in_(['posted', 'paid', 'cancelled'])))

    def _credit(self, **values):
        credit = super()._credit(**values)
        credit.plan_action = self.plan_action
        return credit


class InvoiceLine(metaclass=PoolMeta):
    __name__ = 'account.invoice.line'

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        # The quantity and the margin
        cls._sql_indexes.add(
            Index(
                t, (t.invoice, Index.Equality()),
                include=[t.product, t.unit, t.quantity, t.type],
                where=t.product != Null))


class MoveLine(metaclass=PoolMeta):
    __name__ = 'account.move.line'

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        # The actual revenue needs only the lines of the foreign invoices.
        cls._sql_indexes.add(
            Index(
                t, (t.move, Index.Equality()),
                where=t.second_currency != Null))
