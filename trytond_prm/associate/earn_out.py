# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from decimal import Decimal

from trytond.i18n import gettext
from trytond.model import ModelView, fields
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Bool, Eval
from trytond.transaction import Transaction
from trytond.wizard import Button, StateTransition, StateView, Wizard

from .amendment import SignedMixin
from .exceptions import BuybackEarnOutError


class Buyback(metaclass=PoolMeta):
    __name__ = 'prm.buyback'

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._buttons.update({
                # The next step when nothing else is open
                'fix_earn_out_wizard': {
                    'invisible': (
                        (Eval('state') != 'running')
                        | Bool(Eval('next_due_date'))),
                    'icon': 'tryton-forward',
                    'depends': ['state', 'next_due_date'],
                    },
                })

    @classmethod
    @ModelView.button_action('prm.wizard_buyback_fix_earn_out')
    def fix_earn_out_wizard(cls, buybacks):
        pass

    def fix_earn_out(
            self, date, due_date, amount, instalment=None, description=None,
            document=None, document_name=None):
        """Set the amount of an earn-out once it is known and post it

        The amount is in the currency of the buyback, 0 if nothing is owed.
        Without instalment a new one is added. The entry is at the date; a
        former amount that nothing pays is reversed.
        """
        pool = Pool()
        Amendment = pool.get('prm.buyback.amendment')
        Instalment = pool.get('prm.buyback.instalment')
        self.claim([self])
        self._check_earn_out(instalment, date, due_date)
        amendments = Amendment.record(
            {self: date}, 'earn_out', description=description,
            document=document, document_name=document_name)
        if instalment:
            # The former entry is settled by its reversal, not by a payment
            self._reverse_earn_out(instalment, date)
        amount = self.currency.round(amount)
        with Transaction().set_context(_buyback_amendment=True):
            if instalment:
                Instalment.write([instalment], {
                        'due_date': due_date,
                        'principal': amount,
                        'fixed_date': date,
                        })
            else:
                instalment, = Instalment.create([{
                            'buyback': self.id,
                            'kind': 'earn_out',
                            'sequence': max(
                                i.sequence or 0
                                for i in self.instalments) + 1,
                            'due_date': due_date,
                            'principal': amount,
                            'fixed_date': date,
                            'outstanding_after': sum((
                                    i.principal for i in self.instalments
                                    if i.in_price and i.due_date > due_date),
                                Decimal(0)),
                            }])
        self._check_opposition(instalment, due_date)
        Amendment.complete(amendments)
        if amount and self.route != 'third_party':
            # Not the instalments that were read before
            self.__class__(self.id)._post_earn_out(
                Instalment(instalment.id), date)
        self.__class__.__queue__.process([self])

    def _check_earn_out(self, instalment, date, due_date):
        pool = Pool()
        Instalment = pool.get('prm.buyback.instalment')
        Lang = pool.get('ir.lang')
        Portion = pool.get('prm.buyback.instalment.line')
        if self.state not in {'running', 'paid'}:
            raise BuybackEarnOutError(
                gettext('prm.msg_buyback_earn_out_running',
                    buyback=self.rec_name))
        if due_date < date:
            lang = Lang.get()
            raise BuybackEarnOutError(
                gettext('prm.msg_buyback_earn_out_date',
                    buyback=self.rec_name,
                    due_date=lang.strftime(due_date),
                    date=lang.strftime(date)))
        if not instalment:
            return
        ledger = Instalment.get_ledgers([self]).get(instalment.id)
        lines = [p.line.id for p in instalment.lines]
        if (instalment.buyback != self
                or instalment.kind != 'earn_out'
                or ledger and (
                    ledger.paid or ledger.waived or ledger.processing)
                or Portion.search([
                        ('line', 'in', lines),
                        ('instalment', '!=', instalment.id),
                        ], limit=1)):
            raise BuybackEarnOutError(
                gettext('prm.msg_buyback_earn_out_paid',
                    instalment=instalment.rec_name))

    def _reverse_earn_out(self, instalment, date):
        "Reverse what was posted of the earn-out"
        pool = Pool()
        BuybackMove = pool.get('prm.buyback-account.move')
        Line = pool.get('account.move.line')
        Move = pool.get('account.move')
        lines = [
            p.line for p in instalment.lines if not p.line.reconciliation]
        if not lines:
            return
        amount = sum(l.credit - l.debit for l in lines)
        move = self._get_move(date)
        move.lines = [
            Line(
                account=l.account, party=l.party, origin=l,
                debit=l.credit, credit=l.debit,
                second_currency=l.second_currency,
                amount_second_currency=(
                    -l.amount_second_currency
                    if l.amount_second_currency is not None else None))
            for l in lines] + [
            self._get_line(getattr(self, name), -part)
            for name, part in self._get_earn_out_debits(instalment, amount)]
        move.save()
        BuybackMove.create([{
                    'buyback': self.id,
                    'move': move.id,
                    'kind': 'reversal',
                    }])
        Move.post([move])
        Line.reconcile(*(
                [l.origin, l] for l in Move(move.id).lines
                if l.origin in lines))

    def _get_earn_out_debits(self, instalment, amount):
        """Return what an earn-out adds to the cost of the shares

        It is a list of the name of the account and the amount in the currency
        of the company. What lacks to the nominal value comes first.
        """
        if self.route != 'capital_reduction':
            return [('account_debit', amount)]
        lack = Decimal(0)
        if self.account_shortfall:
            before = self._get_excess() - self._convert(
                instalment.principal, self.recognition_date)
            lack = min(max(-before, Decimal(0)), amount)
        return [
            (name, part) for name, part in [
                ('account_shortfall', lack),
                ('account_premium', amount - lack)]
            if part]

    def _post_earn_out(self, instalment, date):
        pool = Pool()
        BuybackMove = pool.get('prm.buyback-account.move')
        Move = pool.get('account.move')
        amount = self._convert(instalment.principal, date)
        debits = self._get_earn_out_debits(instalment, amount)
        for name in ['journal', 'account_payable', *[n for n, _ in debits]]:
            self._check_account(name)
        move = self._get_move(date)
        move.lines = [
            self._get_line(getattr(self, name), part)
            for name, part in debits] + [
            self._get_payable_line(instalment, instalment.principal, amount)]
        move.save()
        BuybackMove.create([{
                    'buyback': self.id,
                    'move': move.id,
                    'kind': 'earn_out',
                    }])
        self._create_portions([move], 'principal')
        Move.post([move])
        self._block([self.__class__(self.id)])


class FixEarnOut(Wizard):
    __name__ = 'prm.buyback.fix_earn_out'
    __string__ = "Fix Earn-out of Buyback"

    start = StateView(
        'prm.buyback.fix_earn_out.start',
        'prm.buyback_fix_earn_out_start_view_form', [
            Button("Cancel", 'end', 'tryton-cancel'),
            Button("Fix", 'fix', 'tryton-ok', default=True),
            ])
    fix = StateTransition()

    def default_start(self, fields):
        buyback = self.record
        values = {
            'buyback': buyback.id,
            'currency': buyback.currency.id,
            'date': buyback._today(buyback.company),
            }
        earn_outs = [i for i in buyback.instalments if i.kind == 'earn_out']
        if len(earn_outs) == 1:
            instalment, = earn_outs
            values['instalment'] = instalment.id
            values['due_date'] = max(instalment.due_date, values['date'])
        return values

    def transition_fix(self):
        start = self.start
        self.record.fix_earn_out(
            start.date, start.due_date, start.amount, start.instalment,
            description=start.description, document=start.document,
            document_name=start.document_name)
        return 'end'

    def end(self):
        return 'reload'


class FixEarnOutStart(SignedMixin, ModelView):
    __name__ = 'prm.buyback.fix_earn_out.start'
    __string__ = "Fix Earn-out of Buyback"

    buyback = fields.Many2One('prm.buyback', "Buyback", readonly=True)
    instalment = fields.Many2One(
        'prm.buyback.instalment', "Instalment",
        domain=[
            ('buyback', '=', Eval('buyback', -1)),
            ('kind', '=', 'earn_out'),
            ],
        help="The earn-out whose amount is fixed.\n"
        "Leave empty to add one.")
    date = fields.Date(
        "Date", required=True,
        help="The date at which the amount became known, and of its entry.")
    due_date = fields.Date(
        "Due Date", required=True,
        domain=[
            ('due_date', '>=', Eval('date', None)),
            ])
    amount = Monetary(
        "Amount", currency='currency', digits='currency', required=True,
        domain=[
            ('amount', '>=', 0),
            ])
    currency = fields.Many2One(
        'currency.currency', "Currency", readonly=True)

    @fields.depends('instalment', 'date', 'due_date')
    def on_change_instalment(self):
        if self.instalment and self.date and not self.due_date:
            self.due_date = max(self.instalment.due_date, self.date)
