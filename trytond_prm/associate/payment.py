# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from collections import defaultdict
from decimal import Decimal

from sql import Null
from sql.aggregate import Sum

from trytond import backend
from trytond.i18n import gettext
from trytond.model import ModelView, fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval
from trytond.tools import grouped_slice, sqlite_apply_types
from trytond.transaction import Transaction
from trytond.wizard import StateAction, Wizard

from .allocation import allocation_query
from .exceptions import BuybackOverpayError, BuybackPayError


def _not_posted(payment):
    "SQL expression of the payments that the ledger does not show yet"
    pool = Pool()
    Move = pool.get('account.move')
    Payment = pool.get('account.payment')
    if 'clearing_move' not in Payment._fields:
        return payment.id != Null
    move = Move.__table__()
    return (payment.clearing_move == Null) | ~payment.clearing_move.in_(
        move.select(move.id, where=move.state == 'posted'))


class Buyback(metaclass=PoolMeta):
    __name__ = 'prm.buyback'

    payment_blocked = fields.Boolean(
        "Payment Blocked", readonly=True,
        help="The lines are blocked until the end of the opposition.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._buttons.update({
                'pay': {
                    'invisible': (
                        (Eval('state') != 'running')
                        | (Eval('route') == 'third_party')
                        | ~(Eval('amount_due', 0) > 0)),
                    'readonly': Eval('payment_blocked', False),
                    'icon': 'tryton-forward',
                    'depends': [
                        'state', 'route', 'amount_due', 'payment_blocked'],
                    },
                })

    @classmethod
    def default_payment_blocked(cls):
        return False

    @classmethod
    def copy(cls, buybacks, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('payment_blocked', cls.default_payment_blocked())
        return super().copy(buybacks, default=default)

    @classmethod
    @ModelView.button_action('prm.wizard_buyback_pay')
    def pay(cls, buybacks):
        pass

    @classmethod
    def _get_principal_lines(cls, buybacks):
        pool = Pool()
        Line = pool.get('account.move.line')
        return Line.browse(list({
                    p.line.id for b in buybacks for i in b.instalments
                    for p in i.lines}))

    @classmethod
    def _block(cls, buybacks):
        pool = Pool()
        Line = pool.get('account.move.line')
        super()._block(buybacks)
        blocked = [
            b for b in buybacks
            if b.route == 'capital_reduction' and b.opposition_end
            and b.opposition_end >= cls._today(b.company)]
        if blocked:
            cls.write(blocked, {'payment_blocked': True})
            Line.payment_block(cls._get_principal_lines(blocked))

    @classmethod
    def unblock(cls, buybacks):
        "Let the lines be paid when the opposition is over"
        pool = Pool()
        Line = pool.get('account.move.line')
        buybacks = [
            b for b in buybacks
            if b.payment_blocked
            and (not b.opposition_end
                or b.opposition_end < cls._today(b.company))]
        cls.claim(buybacks)
        Line.payment_unblock([
                l for l in cls._get_principal_lines(buybacks)
                if not l.reconciliation])
        cls.write(buybacks, {'payment_blocked': False})

    @classmethod
    def unblock_payments(cls):
        "Unblock the lines of the buybacks whose opposition is over"
        context = Transaction().context
        domain = [('payment_blocked', '=', True)]
        if context.get('company'):
            domain.append(('company', '=', context['company']))
        cls.unblock(cls.search(domain))


class Instalment(metaclass=PoolMeta):
    __name__ = 'prm.buyback.instalment'

    @classmethod
    def _fill_processing(cls, buybacks, get_ledger):
        pool = Pool()
        Line = pool.get('account.move.line')
        Payment = pool.get('account.payment')
        Portion = pool.get('prm.buyback.instalment.line')
        cursor = Transaction().connection.cursor()
        table = cls.__table__()
        line = Line.__table__()
        payment = Payment.__table__()
        portion = Portion.__table__()
        super()._fill_processing(buybacks, get_ledger)

        of_buybacks = fields.SQL_OPERATORS['in'](
            table.buyback, [b.id for b in buybacks])
        lines = (table
            .join(portion, condition=portion.instalment == table.id)
            .select(portion.line, where=of_buybacks))
        query = (payment
            .join(line, condition=payment.line == line.id)
            .select(
                line.id.as_('line'), Sum(payment.amount).as_('amount'),
                where=line.id.in_(lines)
                & (line.reconciliation == Null)
                & (payment.state != 'failed')
                & _not_posted(payment),
                group_by=[line.id]))
        if backend.name == 'sqlite':
            sqlite_apply_types(query, [None, 'NUMERIC'])
        cursor.execute(*query)
        amounts = dict(cursor)
        if not amounts:
            return
        for portion in Portion.search(
                [('line', 'in', list(amounts))],
                order=[('instalment.due_date', 'ASC'), ('id', 'ASC')]):
            ledger, round_ = get_ledger(portion.instalment.id)
            amount = round_(amounts[portion.line.id])
            part = min(amount, portion.amount, ledger.rest)
            ledger.processing += part
            amounts[portion.line.id] = amount - part


class Payment(metaclass=PoolMeta):
    __name__ = 'account.payment'

    @classmethod
    def validate_fields(cls, payments, field_names):
        super().validate_fields(payments, field_names)
        cls.check_buyback_overpay(payments, field_names)

    @classmethod
    def check_buyback_overpay(cls, payments, field_names=None):
        "Raise when the payments exceed what is open on a line of a buyback"
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        Lang = pool.get('ir.lang')
        Portion = pool.get('prm.buyback.instalment.line')
        if field_names and not (field_names & {'line', 'amount', 'state'}):
            return
        payments = [
            p for p in payments if p.line and p.state != 'failed']
        amounts, instalments = defaultdict(Decimal), {}
        for sub_payments in grouped_slice(payments, 1000):
            for portion in Portion.search([
                        ('line', 'in', [p.line.id for p in sub_payments])],
                    order=[('id', 'ASC')]):
                amounts[portion.line.id] += portion.amount
                instalments.setdefault(portion.line.id, portion.instalment)
        payments = [p for p in payments if p.line.id in amounts]
        if not payments:
            return
        # Two payments at once must see each other
        Buyback.claim(list({i.buyback for i in instalments.values()}))
        paid = cls._get_buyback_line_paid(list(amounts), list({
                    i.buyback.id for i in instalments.values()}))
        lang = Lang.get()
        for payment in payments:
            id_ = payment.line.id
            open_ = amounts[id_] - payment.currency.round(
                Decimal(str(paid[id_])))
            if open_ < 0:
                raise BuybackOverpayError(
                    gettext('prm.msg_buyback_overpay',
                        payment=payment.rec_name,
                        instalment=instalments[id_].rec_name,
                        amount=lang.currency(
                            payment.amount, payment.currency),
                        open=lang.currency(
                            max(open_ + payment.amount, Decimal(0)),
                            payment.currency)))

    @classmethod
    def _get_buyback_line_paid(cls, lines, buybacks):
        "Return what the payments and the other entries pay, by line"
        pool = Pool()
        Line = pool.get('account.move.line')
        Move = pool.get('account.move')
        Portion = pool.get('prm.buyback.instalment.line')
        cursor = Transaction().connection.cursor()
        payment = cls.__table__()
        line = Line.__table__()
        move = Move.__table__()
        portion = Portion.__table__()

        paid = defaultdict(Decimal)
        query = payment.select(
            payment.line.as_('line'), Sum(payment.amount).as_('amount'),
            where=fields.SQL_OPERATORS['in'](payment.line, lines)
            & (payment.state != 'failed'),
            group_by=[payment.line])
        entry = allocation_query(buybacks)
        entries = (entry
            .join(portion, condition=entry.due == portion.id)
            .join(line, condition=entry.line == line.id)
            .join(move, condition=line.move == move.id)
            .select(
                portion.line.as_('line'), Sum(entry.amount).as_('amount'),
                where=fields.SQL_OPERATORS['in'](portion.line, lines)
                & (entry.kind != 'dead')
                & ((move.origin == Null)
                    | ~move.origin.like('account.payment,%')),
                group_by=[portion.line]))
        for query in [query, entries]:
            if backend.name == 'sqlite':
                sqlite_apply_types(query, [None, 'NUMERIC'])
            cursor.execute(*query)
            for id_, amount in cursor:
                paid[id_] += amount
        return paid


class Pay(Wizard):
    __name__ = 'prm.buyback.pay'
    __string__ = "Pay Buybacks"

    start_state = 'pay'
    pay = StateAction('account_payment.act_pay_line')

    def do_pay(self, action):
        lines = [
            p.line.id for b in self.records for i in self._get_instalments(b)
            for p in i.lines if not p.line.reconciliation]
        lines = list(dict.fromkeys(lines))
        if not lines:
            raise BuybackPayError(gettext('prm.msg_buyback_pay_nothing'))
        return action, {
            'model': 'account.move.line',
            'id': lines[0],
            'ids': lines,
            }

    def _get_instalments(self, buyback):
        "Return the instalments due, or else the next ones"
        limit = max(
            buyback.next_due_date or dt.date.min,
            buyback._today(buyback.company))
        return [
            i for i in buyback.instalments
            if any(
                not p.line.reconciliation
                and (p.line.maturity_date or i.due_date) <= limit
                for p in i.lines)]


class Cron(metaclass=PoolMeta):
    __name__ = 'ir.cron'

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.method.selection.append(
            ('prm.buyback|unblock_payments',
                "Unblock Payments of Buybacks"))
