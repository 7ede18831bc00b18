# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from decimal import Decimal

from trytond.i18n import gettext
from trytond.model import ModelView, fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval
from trytond.wizard import Button, StateTransition, StateView, Wizard

from . import schedule
from .exceptions import BuybackAccrualError


class Buyback(metaclass=PoolMeta):
    __name__ = 'prm.buyback'

    @classmethod
    def accrue_interest(cls, buybacks, date, reversal_date=None):
        """Post the interest that runs until the date and its reversal

        It counts from the last due date on the principal of the price that
        is due later, with the late interest that is not charged yet. The
        reversal is the next day by default. Each date is accrued once.
        """
        pool = Pool()
        BuybackMove = pool.get('prm.buyback-account.move')
        Move = pool.get('account.move')
        if reversal_date is None:
            reversal_date = date + dt.timedelta(days=1)
        buybacks = [
            b for b in buybacks
            if b.state == 'running' and b.route != 'third_party']
        cls.claim(buybacks)
        lates = cls.get_late_interests(buybacks, date)
        moves = []
        for buyback in buybacks:
            if any(
                    m.kind == 'accrual' and m.move.date == date
                    and m.move.origin == buyback
                    for m in buyback.moves):
                continue
            amount = buyback.get_running_interest(date)
            amount += sum(a for _, _, a in lates[buyback])
            if amount:
                moves.append((buyback, buyback._get_accrual_move(
                            date, amount)))
        if not moves:
            raise BuybackAccrualError(
                gettext('prm.msg_buyback_accrue_nothing'))
        Move.save([m for _, m in moves])
        reversals = []
        for buyback, move in moves:
            reversal = buyback._get_move(reversal_date)
            reversal.origin = move
            reversal.lines = [
                buyback._get_line(l.account, l.credit - l.debit)
                for l in move.lines]
            reversals.append((buyback, reversal))
        Move.save([m for _, m in reversals])
        BuybackMove.create([{
                    'buyback': b.id,
                    'move': m.id,
                    'kind': 'accrual',
                    } for b, m in moves + reversals])
        Move.post([m for _, m in moves + reversals])

    def get_running_interest(self, date):
        "Return the interest that is not due at the date but runs until it"
        if not self.signature_date or date <= self.signature_date:
            return Decimal(0)
        outstanding = sum(
            (i.principal for i in self.instalments
                if i.in_price and i.due_date > date), Decimal(0))
        return schedule.interest(
            outstanding, self.interest_rate or Decimal(0),
            self._get_interest_start(date), date, self.day_count,
            self.currency.round)

    def _get_accrual_move(self, date, amount):
        for name in ['account_interest', 'account_accrued']:
            self._check_account(name)
        amount = self._convert(amount, date)
        move = self._get_move(date)
        move.lines = [
            self._get_line(self.account_interest, amount),
            self._get_line(self.account_accrued, -amount)]
        return move


class AccrueInterest(Wizard):
    __name__ = 'prm.buyback.accrue'
    __string__ = "Accrue Interest of Buybacks"

    start = StateView(
        'prm.buyback.accrue.start', 'prm.buyback_accrue_start_view_form', [
            Button("Cancel", 'end', 'tryton-cancel'),
            Button("Accrue", 'accrue', 'tryton-ok', default=True),
            ])
    accrue = StateTransition()

    def transition_accrue(self):
        self.model.accrue_interest(
            self.records, self.start.date, self.start.reversal_date)
        return 'end'

    def end(self):
        return 'reload'


class AccrueInterestStart(ModelView):
    __name__ = 'prm.buyback.accrue.start'
    __string__ = "Accrue Interest of Buybacks"

    date = fields.Date(
        "Date", required=True,
        help="The last day of the period, until which the interest runs.")
    reversal_date = fields.Date(
        "Reversal Date", required=True,
        domain=[
            ('reversal_date', '>', Eval('date', None)),
            ],
        help="The day of the next period on which the entry is reversed.")

    @fields.depends('date', 'reversal_date')
    def on_change_date(self):
        if self.date:
            self.reversal_date = self.date + dt.timedelta(days=1)
