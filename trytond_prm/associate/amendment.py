# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from collections import defaultdict
from decimal import Decimal

from trytond import backend
from trytond.i18n import gettext
from trytond.model import ModelSQL, ModelView, fields
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval, If
from trytond.tools import sqlite_apply_types
from trytond.transaction import Transaction
from trytond.wizard import Button, StateTransition, StateView, Wizard

from ..model import ReadonlyMixin
from ..tools import spread
from . import schedule
from .allocation import allocation_query
from .document import DocumentMixin
from .exceptions import BuybackAmendmentError


def _differ(name, other):
    "PYSON of numbers that differ: the clients compare them by order only"
    value, other = Eval(name, 0), Eval(other, 0)
    return (value > other) | (value < other)


class Amendment(DocumentMixin, ModelSQL, ModelView):
    __name__ = 'prm.buyback.amendment'
    __string__ = "Buyback Amendment"

    kind = fields.Selection([
            ('amendment', "Amendment"),
            ('earn_out', "Earn-out"),
            ('early_settlement', "Early Settlement"),
            ('acceleration', "Acceleration"),
            ('termination', "Termination"),
            ], "Kind", required=True, readonly=True, sort=False)
    former_interest_rate = fields.Numeric(
        "Former Interest Rate", digits=(None, 6), readonly=True)
    interest_rate = fields.Numeric(
        "Interest Rate", digits=(None, 6), readonly=True)
    former_late_rate = fields.Numeric(
        "Former Late Rate", digits=(None, 6), readonly=True)
    late_rate = fields.Numeric(
        "Late Rate", digits=(None, 6), readonly=True)
    former_cure_days = fields.Integer("Former Cure Days", readonly=True)
    cure_days = fields.Integer("Cure Days", readonly=True)
    waiver = Monetary(
        "Waiver", currency='currency', digits='currency', readonly=True,
        states={
            'invisible': ~Eval('waiver'),
            },
        help="The amount that the associate waived.")
    lines = fields.One2Many(
        'prm.buyback.amendment.line', 'amendment', "Instalments",
        readonly=True,
        help="The instalments before and after the amendment.")

    _terms = ['interest_rate', 'late_rate', 'cure_days']

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            (f'/tree/field[@name="{name}"]', 'visual',
                If(_differ(name, f'former_{name}'), 'warning', ''))
            for name in cls._terms]

    @classmethod
    def record(
            cls, dates, kind, description=None, document=None,
            document_name=None, waiver=None):
        """Keep the terms and the instalments of the buybacks as they are

        The dates are the ones of the amendments by buyback.
        """
        return cls.create([{
                    'buyback': buyback.id,
                    'date': date,
                    'kind': kind,
                    'description': description,
                    'document': document,
                    'document_name': document_name,
                    'waiver': waiver,
                    **{f'former_{n}': getattr(buyback, n)
                        for n in cls._terms},
                    **{n: getattr(buyback, n) for n in cls._terms},
                    'lines': [('create', [{
                                    'instalment': i.id,
                                    'sequence': i.sequence,
                                    'due_date': i.due_date,
                                    'principal': i.principal,
                                    'interest': i.interest,
                                    'outstanding_after': i.outstanding_after,
                                    } for i in buyback.instalments])],
                    } for buyback, date in dates.items()])

    @classmethod
    def complete(cls, amendments):
        "Keep what the amendments changed"
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        Line = pool.get('prm.buyback.amendment.line')
        to_write, to_create, terms = [], [], []
        # What was read before is not what is stored
        buybacks = {
            b.id: b for b in Buyback.browse([
                    a.buyback.id for a in amendments])}
        for amendment in amendments:
            buyback = buybacks[amendment.buyback.id]
            lines = {l.instalment: l for l in amendment.lines}
            terms.extend((
                    [amendment],
                    {n: getattr(buyback, n) for n in cls._terms}))
            for instalment in buyback.instalments:
                values = {
                    'new_due_date': instalment.due_date,
                    'new_principal': instalment.principal,
                    'new_interest': instalment.interest,
                    }
                if instalment in lines:
                    to_write.extend(([lines[instalment]], values))
                else:
                    to_create.append({
                            'amendment': amendment.id,
                            'instalment': instalment.id,
                            'sequence': instalment.sequence,
                            **values,
                            })
        with Transaction().set_context(_buyback_amendment=True):
            if terms:
                cls.write(*terms)
            if to_write:
                Line.write(*to_write)
            Line.create(to_create)


class AmendmentLine(ReadonlyMixin, ModelSQL, ModelView):
    __name__ = 'prm.buyback.amendment.line'
    __string__ = "Buyback Amendment Line"

    amendment = fields.Many2One(
        'prm.buyback.amendment', "Amendment", required=True, readonly=True,
        ondelete='CASCADE')
    instalment = fields.Many2One(
        'prm.buyback.instalment', "Instalment", readonly=True,
        ondelete='RESTRICT')
    sequence = fields.Integer("Sequence", readonly=True)
    due_date = fields.Date("Former Due Date", readonly=True)
    principal = Monetary(
        "Former Principal", currency='currency', digits='currency',
        readonly=True)
    interest = Monetary(
        "Former Interest", currency='currency', digits='currency',
        readonly=True)
    outstanding_after = Monetary(
        "Former Outstanding", currency='currency', digits='currency',
        readonly=True)
    new_due_date = fields.Date("New Due Date", readonly=True)
    new_principal = Monetary(
        "New Principal", currency='currency', digits='currency',
        readonly=True)
    new_interest = Monetary(
        "New Interest", currency='currency', digits='currency',
        readonly=True)
    currency = fields.Function(fields.Many2One(
            'currency.currency', "Currency"),
        'on_change_with_currency')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('amendment')
        cls._order = [('sequence', 'ASC'), ('id', 'ASC')]

    @fields.depends('amendment', '_parent_amendment.buyback')
    def on_change_with_currency(self, name=None):
        if self.amendment and self.amendment.buyback:
            return self.amendment.buyback.currency

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            (f'/tree/field[@name="new_{name}"]', 'visual',
                If(_differ(f'new_{name}', name), 'warning', ''))
            for name in ['principal', 'interest']] + [
            ('/tree/field[@name="new_due_date"]', 'visual',
                If(Eval('new_due_date', None) != Eval('due_date', None),
                    'warning', ''))]


class Buyback(metaclass=PoolMeta):
    __name__ = 'prm.buyback'

    def _check_amendable(self, third_party=False):
        if self.state != 'running' or (
                self.route == 'third_party' and not third_party):
            raise BuybackAmendmentError(
                gettext('prm.msg_buyback_amend_running',
                    buyback=self.rec_name))

    def _get_open_instalments(self, date, third_party=False):
        """Return the instalments overdue at the date and the later ones

        Those that are settled can not be amended, nor those that a third
        party pays unless it is told.
        """
        pool = Pool()
        Instalment = pool.get('prm.buyback.instalment')
        self._check_amendable(third_party)
        ledgers = Instalment.get_ledgers([self])
        overdue, later = [], []
        for instalment in self.instalments:
            ledger = ledgers.get(instalment.id)
            if ledger and ledger.is_settled(instalment):
                continue
            if instalment.due_date > date:
                if instalment.interest and instalment.interest_line:
                    raise BuybackAmendmentError(
                        gettext('prm.msg_buyback_amend_interest',
                            instalment=instalment.rec_name))
                later.append(instalment)
            else:
                overdue.append(instalment)
        return overdue, later

    def _get_interest_start(self, date):
        "Return the last due date before the date, or the signature date"
        return max(
            [
                i.due_date for i in self.instalments
                if i.in_price and i.due_date <= date],
            default=self.signature_date)

    def _set_due_dates(self, dates, rate=None, start=None):
        """Change the due dates of instalments not due yet

        dates is by instalment; the interest is computed again from start.
        """
        pool = Pool()
        Instalment = pool.get('prm.buyback.instalment')
        Line = pool.get('account.move.line')
        for instalment, date in dates.items():
            self._check_early(instalment, date)
            self._check_opposition(instalment, date)
        if rate is None:
            rate = self.interest_rate or Decimal(0)
        instalments = sorted(
            dates, key=lambda i: (dates[i], i.due_date, i.sequence or 0))
        rows = iter(schedule.balance(
                start,
                [(i.kind, dates[i], i.principal)
                    for i in instalments if i.in_price],
                rate, self.day_count, self.currency.round))
        to_write, lines = [], []
        outstanding = sum(
            (i.principal for i in instalments if i.in_price), Decimal(0))
        for sequence, instalment in zip(
                sorted(i.sequence or 0 for i in instalments), instalments):
            values = {'sequence': sequence, 'due_date': dates[instalment]}
            if instalment.in_price:
                row = next(rows)
                outstanding = row.outstanding_after
                values['interest'] = row.interest
                if row.interest and self.route != 'third_party':
                    self._check_account('account_interest')
            values['outstanding_after'] = outstanding
            to_write.extend(([instalment], values))
            if dates[instalment] == instalment.due_date:
                # The lines may be rescheduled
                continue
            for portion in instalment.lines:
                if not portion.line.reconciliation:
                    lines.extend((
                            [portion.line],
                            {'maturity_date': dates[instalment]}))
        with Transaction().set_context(_buyback_amendment=True):
            Instalment.write(*to_write)
        if lines:
            Line.write(*lines)

    def settle_early(
            self, date, waiver=None, description=None, document=None,
            document_name=None):
        """Make due at the date all the instalments that are not yet

        The interest is charged until the date only.
        The waiver is an amount in the currency of the buyback.
        """
        pool = Pool()
        Amendment = pool.get('prm.buyback.amendment')
        Instalment = pool.get('prm.buyback.instalment')
        self.claim([self])
        _, later = self._get_open_instalments(date)
        later = [i for i in later if i.in_price]
        if not later:
            raise BuybackAmendmentError(
                gettext('prm.msg_buyback_amend_nothing',
                    buyback=self.rec_name))
        if waiver and waiver > self._get_principal_rest(later):
            raise BuybackAmendmentError(
                gettext('prm.msg_buyback_amend_waiver',
                    buyback=self.rec_name))
        start = self._get_interest_start(date)
        if waiver:
            self._check_account('account_waiver')
        amendments = Amendment.record(
            {self: date}, 'early_settlement', description=description,
            document=document, document_name=document_name, waiver=waiver)
        self._set_due_dates(dict.fromkeys(later, date), start=start)
        Amendment.complete(amendments)
        self._post_interest([
                i for i in Instalment.browse(later) if i.interest], date)
        if waiver:
            self._post_waiver(date, waiver)
        self.__class__.__queue__.process([self])

    def _get_principal_rest(self, instalments):
        "Return the principal of the instalments neither paid nor waived"
        pool = Pool()
        Instalment = pool.get('prm.buyback.instalment')
        paid = Instalment.get_principal_paid([self])
        return sum((
                max(i.principal - sum(a for _, a in paid[i.id]), Decimal(0))
                for i in instalments), Decimal(0))

    def _post_waiver(self, date, amount):
        pool = Pool()
        BuybackMove = pool.get('prm.buyback-account.move')
        Line = pool.get('account.move.line')
        Move = pool.get('account.move')
        company_amount = self._convert(amount, date)
        line = Line(
            account=self.account_payable, party=self.party,
            debit=company_amount)
        if self.currency != self.company.currency:
            line.second_currency = self.currency
            line.amount_second_currency = amount
        move = self._get_move(date)
        move.lines = [
            line, self._get_line(self.account_waiver, -company_amount)]
        move.save()
        BuybackMove.create([{
                    'buyback': self.id,
                    'move': move.id,
                    'kind': 'waiver',
                    }])
        Move.post([move])

    def accelerate(self, notice_date):
        """Make all the instalments due at the end of the cure delay

        The delay is the one of the formal notice of the date, which is kept
        if it was not given before.
        The interest and the late interest are charged until then.
        """
        pool = Pool()
        Amendment = pool.get('prm.buyback.amendment')
        Instalment = pool.get('prm.buyback.instalment')
        Lang = pool.get('ir.lang')
        self._check_not_accelerated()
        self.claim([self])
        notice = self._get_notice(notice_date)
        if notice:
            date = notice.cure_end
        else:
            date = notice_date + dt.timedelta(days=self.cure_days or 0)
        if date > self._today(self.company):
            raise BuybackAmendmentError(
                gettext('prm.msg_buyback_accelerate_cure',
                    buyback=self.rec_name,
                    date=Lang.get().strftime(date)))
        overdue, later = self._get_open_instalments(date)
        later = [i for i in later if i.in_price]
        self._check_overdue(overdue, notice_date)
        if not notice:
            self.give_notice(notice_date)
        # What was due must be charged before the rest becomes due
        self._post_interest([
                i for i in overdue if i.interest and not i.interest_line],
            date)
        start = self._get_interest_start(date)
        amendments = Amendment.record({self: date}, 'acceleration')
        charges = self.get_late_interests([self], date)[self]
        if later:
            self._set_due_dates(dict.fromkeys(later, date), start=start)
            charges.extend(
                (i, 'interest', i.interest)
                for i in Instalment.browse(later) if i.interest)
        Amendment.complete(amendments)
        self._post_charges(charges, date)
        self.accelerated_on = date
        self.save()

    def _check_not_accelerated(self):
        if self.accelerated_on:
            raise BuybackAmendmentError(
                gettext('prm.msg_buyback_accelerated',
                    buyback=self.rec_name))

    def _check_overdue(self, instalments, notice_date):
        "Raise when no instalment is overdue at the date of the notice"
        due_dates = self._get_principal_dates([self])
        if not [
                i for i in instalments
                if due_dates.get(i.id, i.due_date) < notice_date]:
            raise BuybackAmendmentError(
                gettext('prm.msg_buyback_accelerate_overdue',
                    buyback=self.rec_name))

    def charge_late_interest(self, date):
        """Charge the late interest of the overdue principal until the date

        It is simple, at the late rate, or the interest rate without one,
        from the due date or the last date it was charged to, on what was
        owed between the payments.
        """
        self.claim([self])
        self._get_open_instalments(date)
        charges = self.get_late_interests([self], date)[self]
        if not charges:
            raise BuybackAmendmentError(
                gettext('prm.msg_buyback_late_nothing',
                    buyback=self.rec_name))
        self._post_charges(charges, date)

    @classmethod
    def _get_principal_dates(cls, buybacks):
        """Return when the open principal is due by instalment

        It is later than the due date once it was rescheduled.
        """
        pool = Pool()
        Instalment = pool.get('prm.buyback.instalment')
        return {
            id_: ledger.principal_date
            for id_, ledger in Instalment.get_ledgers(buybacks).items()
            if ledger.principal_date}

    @classmethod
    def get_late_interests(cls, buybacks, date):
        """Return the late interest until the date not charged yet

        It is a list of instalment, nature and amount by buyback, in the
        currency of the buyback.
        """
        pool = Pool()
        Instalment = pool.get('prm.buyback.instalment')
        if not buybacks:
            return {}
        payments = Instalment.get_principal_paid(buybacks)
        due_dates = cls._get_principal_dates(buybacks)
        return {
            b: b._get_late_interest(date, payments, due_dates)
            for b in buybacks}

    def _get_late_interest(self, date, payments, due_dates):
        rate = self.late_rate
        if rate is None:
            rate = self.interest_rate or Decimal(0)
        segments = defaultdict(list)
        for instalment in self.instalments:
            start = max(
                [
                    instalment.due_date,
                    due_dates.get(instalment.id, instalment.due_date)] + [
                    p.interest_date for p in instalment.lines
                    if p.nature == 'late_interest' and p.interest_date])
            rest = instalment.principal
            for end, amount in [*payments[instalment.id], (date, 0)]:
                end = min(end, date)
                if rest > 0 and start < end:
                    segments[start, end].append((instalment, rest))
                start = max(start, end)
                rest -= amount
        charges = defaultdict(Decimal)
        for (start, end), group in sorted(
                segments.items(), key=lambda s: s[0]):
            total = sum(r for _, r in group)
            amounts = spread(
                schedule.interest(
                    total, rate, start, end, self.day_count,
                    self.currency.round),
                [r / total for _, r in group], self.currency.round)
            for (instalment, _), amount in zip(group, amounts):
                charges[instalment] += amount
        return [(i, 'late_interest', a) for i, a in charges.items() if a]

    def _post_charges(self, charges, date):
        "Post one line for charges that are (instalment, nature, amount)"
        pool = Pool()
        BuybackMove = pool.get('prm.buyback-account.move')
        Move = pool.get('account.move')
        Portion = pool.get('prm.buyback.instalment.line')
        if not charges:
            return
        self._check_account('account_interest')
        amount = sum(a for _, _, a in charges)
        company_amount = self._convert(amount, date)
        payable = self._get_payable_line(
            charges[0][0], amount, company_amount)
        payable.maturity_date = date
        payable.origin = None
        move = self._get_move(date)
        move.lines = [
            self._get_line(self.account_interest, company_amount), payable]
        move.save()
        line, = [l for l in move.lines if l.account == self.account_payable]
        BuybackMove.create([{
                    'buyback': self.id,
                    'move': move.id,
                    'kind': 'interest',
                    }])
        Portion.create([{
                    'instalment': i.id,
                    'line': line.id,
                    'nature': nature,
                    'amount': amount,
                    'interest_date': date,
                    } for i, nature, amount in charges])
        Move.post([move])

    def get_amendable(self, date):
        """Return the principal of the price that an amendment may spread

        And the values of the instalments that are not due at the date; the
        amounts are in the currency of the buyback.
        """
        _, later = self._get_open_instalments(date, third_party=True)
        principal = sum(
            (i.principal for i in later if i.in_price),
            self.currency.round(Decimal(0)))
        return principal, [{
                'instalment': i.id,
                'principal': i.principal,
                'currency': i.currency.id,
                'due_date': i.due_date,
                'in_price': i.in_price,
                } for i in later]

    def amend(
            self, date, dates, rate=None, principals=None, added=(),
            description=None, document=None, document_name=None, **terms):
        """Change the instalments that are not due and the interest rate

        dates and principals are by instalment and added has the due date and
        the principal of new ones; those due until the date do not change.
        The principal is in the currency of the buyback and its sum stays.
        The terms are the late rate and the cure days, if they change.
        """
        pool = Pool()
        Amendment = pool.get('prm.buyback.amendment')
        Instalment = pool.get('prm.buyback.instalment')
        Lang = pool.get('ir.lang')
        lang = Lang.get()
        self.claim([self])
        self._check_amendable(third_party=True)
        if date < self.signature_date:
            raise BuybackAmendmentError(
                gettext('prm.msg_buyback_amend_early',
                    buyback=self.rec_name,
                    date=lang.strftime(date),
                    signature=lang.strftime(self.signature_date)))
        _, later = self._get_open_instalments(date, third_party=True)
        for instalment in [*dates, *(principals or {})]:
            if (instalment not in later
                    or dates.get(instalment, instalment.due_date) <= date):
                raise BuybackAmendmentError(
                    gettext('prm.msg_buyback_amend_date',
                        instalment=instalment.rec_name,
                        date=lang.strftime(date)))
        for due_date, _ in added:
            if due_date <= date:
                raise BuybackAmendmentError(
                    gettext('prm.msg_buyback_amend_added',
                        buyback=self.rec_name,
                        due_date=lang.strftime(due_date),
                        date=lang.strftime(date)))
        # The late interest runs on what is overdue
        if not later and (rate is not None or not terms):
            raise BuybackAmendmentError(
                gettext('prm.msg_buyback_amend_nothing',
                    buyback=self.rec_name))
        principals = {
            i: amount for i, a in (principals or {}).items()
            if (amount := self.currency.round(a)) != i.principal}
        added = [(d, self.currency.round(a)) for d, a in added]
        self._check_principal(principals, added)
        lines = self._get_principal_lines_open(principals)
        start = self._get_interest_start(date)
        amendments = Amendment.record(
            {self: date}, 'amendment', description=description,
            document=document, document_name=document_name)
        new = self._change_principal(date, principals, added, lines)
        if later:
            # What was read before is not what is stored
            later = Instalment.browse([*later, *new])
            self._set_due_dates(
                {i: dates.get(i, i.due_date) for i in later}, rate=rate,
                start=start)
        if rate is not None:
            terms['interest_rate'] = rate
        if terms:
            with Transaction().set_context(_buyback_amendment=True):
                self.__class__.write([self], terms)
        Amendment.complete(amendments)


class Instalment(metaclass=PoolMeta):
    __name__ = 'prm.buyback.instalment'

    @classmethod
    def get_principal_paid(cls, buybacks):
        """Return the principal paid or waived by instalment

        It is a list of date and amount by date.
        """
        cursor = Transaction().connection.cursor()
        currencies = {
            i.id: b.currency for b in buybacks for i in b.instalments}
        query = allocation_query(buybacks)
        query = query.select(
            query.instalment.as_('instalment'),
            query.date.as_('date'),
            query.amount.as_('amount'),
            where=fields.SQL_OPERATORS['in'](
                query.buyback, [b.id for b in buybacks])
            & (query.category != 'own')
            & (query.nature == 'principal'))
        if backend.name == 'sqlite':
            sqlite_apply_types(query, [None, 'DATE', 'NUMERIC'])
        cursor.execute(*query)
        paid = defaultdict(list)
        for id_, date, amount in cursor:
            paid[id_].append(
                (date, currencies[id_].round(Decimal(str(amount)))))
        for payments in paid.values():
            payments.sort()
        return paid


class _BuybackWizard(Wizard):
    start_state = 'start'

    def end(self):
        return 'reload'


class SettleEarly(_BuybackWizard):
    __name__ = 'prm.buyback.settle_early'
    __string__ = "Settle Buyback Early"

    start = StateView(
        'prm.buyback.settle_early.start',
        'prm.buyback_settle_early_start_view_form', [
            Button("Cancel", 'end', 'tryton-cancel'),
            Button("Settle", 'settle', 'tryton-ok', default=True),
            ])
    settle = StateTransition()

    def default_start(self, fields):
        return {'currency': self.record.currency.id}

    def transition_settle(self):
        self.record.settle_early(
            self.start.date, self.start.waiver,
            description=self.start.description,
            document=self.start.document,
            document_name=self.start.document_name)
        return 'end'


class SignedMixin:
    "What is kept of the amendment that the parties signed"
    __slots__ = ()

    description = fields.Text("Description")
    document = fields.Binary(
        "Signed Document", filename='document_name',
        help="The amendment that the parties signed.")
    document_name = fields.Char("Signed Document Name")


class SettleEarlyStart(SignedMixin, ModelView):
    __name__ = 'prm.buyback.settle_early.start'
    __string__ = "Settle Buyback Early"

    date = fields.Date(
        "Date", required=True,
        help="The date at which all the instalments become due and until "
        "which the interest is charged.")
    waiver = Monetary(
        "Waiver", currency='currency', digits='currency',
        domain=['OR',
            ('waiver', '=', None),
            ('waiver', '>=', 0),
            ],
        help="The amount that the associate waives.")
    currency = fields.Many2One(
        'currency.currency', "Currency", readonly=True)


class Accelerate(_BuybackWizard):
    __name__ = 'prm.buyback.accelerate'
    __string__ = "Accelerate Buyback"

    start = StateView(
        'prm.buyback.accelerate.start',
        'prm.buyback_accelerate_start_view_form', [
            Button("Cancel", 'end', 'tryton-cancel'),
            Button("Accelerate", 'accelerate', 'tryton-ok', default=True),
            ])
    accelerate = StateTransition()

    def default_start(self, fields):
        values = {
            'buyback': self.record.id,
            'cure_days': self.record.cure_days or 0,
            }
        if self.record.notices:
            values['notice_date'] = self.record.notices[0].date
        return values

    def transition_accelerate(self):
        self.record.accelerate(self.start.notice_date)
        return 'end'


class AccelerateStart(ModelView):
    __name__ = 'prm.buyback.accelerate.start'
    __string__ = "Accelerate Buyback"

    buyback = fields.Many2One('prm.buyback', "Buyback", readonly=True)
    notice_date = fields.Date(
        "Notice Date", required=True,
        help="The date of the formal notice.")
    cure_days = fields.Integer("Cure Days", readonly=True)
    date = fields.Function(fields.Date(
            "Date",
            help="The date at which all the instalments become due."),
        'on_change_with_date')

    @fields.depends('buyback', 'notice_date', 'cure_days')
    def on_change_with_date(self, name=None):
        if self.notice_date:
            if self.buyback and (
                    notice := self.buyback._get_notice(self.notice_date)):
                return notice.cure_end
            return self.notice_date + dt.timedelta(days=self.cure_days or 0)


class ChargeLateInterest(_BuybackWizard):
    __name__ = 'prm.buyback.charge_late_interest'
    __string__ = "Charge Late Interest of Buyback"

    start = StateView(
        'prm.buyback.charge_late_interest.start',
        'prm.buyback_charge_late_interest_start_view_form', [
            Button("Cancel", 'end', 'tryton-cancel'),
            Button("Charge", 'charge', 'tryton-ok', default=True),
            ])
    charge = StateTransition()

    def transition_charge(self):
        self.record.charge_late_interest(self.start.date)
        return 'end'


class ChargeLateInterestStart(ModelView):
    __name__ = 'prm.buyback.charge_late_interest.start'
    __string__ = "Charge Late Interest of Buyback"

    date = fields.Date(
        "Date", required=True,
        help="The date until which the late interest is charged.")


class Amend(_BuybackWizard):
    __name__ = 'prm.buyback.amend'
    __string__ = "Amend Buyback"

    start = StateView(
        'prm.buyback.amend.start', 'prm.buyback_amend_start_view_form', [
            Button("Cancel", 'end', 'tryton-cancel'),
            Button("Amend", 'amend', 'tryton-ok', default=True),
            ])
    amend = StateTransition()

    def default_start(self, fields):
        pool = Pool()
        Date = pool.get('ir.date')
        with Transaction().set_context(company=self.record.company.id):
            today = Date.today()
        principal, lines = self.record.get_amendable(today)
        return {
            'buyback': self.record.id,
            'date': today,
            'interest_rate': self.record.interest_rate,
            'late_rate': self.record.late_rate,
            'cure_days': self.record.cure_days,
            'currency': self.record.currency.id,
            'principal': principal,
            'lines': lines,
            }

    def transition_amend(self):
        start = self.start
        terms = {
            n: getattr(start, n) for n in ['late_rate', 'cure_days']
            if getattr(start, n) != getattr(self.record, n)}
        rate = None
        if start.interest_rate != self.record.interest_rate:
            rate = start.interest_rate or Decimal(0)
        lines = [l for l in start.lines if l.instalment]
        self.record.amend(
            start.date, {l.instalment: l.due_date for l in lines}, rate,
            principals={l.instalment: l.principal for l in lines},
            added=[
                (l.due_date, l.principal) for l in start.lines
                if not l.instalment],
            description=start.description, document=start.document,
            document_name=start.document_name, **terms)
        return 'end'


class AmendStart(SignedMixin, ModelView):
    __name__ = 'prm.buyback.amend.start'
    __string__ = "Amend Buyback"

    buyback = fields.Many2One('prm.buyback', "Buyback", readonly=True)
    date = fields.Date(
        "Date", required=True,
        help="The date of the signature of the amendment.")
    interest_rate = fields.Numeric(
        "Interest Rate", digits=(None, 6),
        domain=['OR',
            ('interest_rate', '=', None),
            ('interest_rate', '>=', 0),
            ],
        help="The rate per year from the last due date on.")
    late_rate = fields.Numeric(
        "Late Rate", digits=(None, 6),
        domain=['OR',
            ('late_rate', '=', None),
            ('late_rate', '>=', 0),
            ],
        help="The rate per year of the interest on the overdue principal "
        "that is not charged yet.")
    cure_days = fields.Integer(
        "Cure Days",
        domain=['OR',
            ('cure_days', '=', None),
            ('cure_days', '>=', 0),
            ])
    currency = fields.Many2One(
        'currency.currency', "Currency", readonly=True)
    principal = Monetary(
        "Principal", currency='currency', digits='currency', readonly=True,
        help="What the instalments that are not due pay of the price.")
    difference = fields.Function(Monetary(
            "To Spread", currency='currency', digits='currency',
            help="The part of the principal that the instalments do not "
            "have: it must be zero."),
        'on_change_with_difference')
    lines = fields.One2Many(
        'prm.buyback.amend.line', None, "Instalments",
        context={
            'currency': Eval('currency', -1),
            },
        depends=['currency'],
        help="The instalments that are not due, and the new ones.")

    @fields.depends('buyback', 'date', 'lines', 'principal')
    def on_change_date(self):
        pool = Pool()
        Line = pool.get('prm.buyback.amend.line')
        if self.buyback and self.date:
            self.principal, lines = self.buyback.get_amendable(self.date)
            self.lines = [Line(**values) for values in lines]

    @fields.depends('lines', 'principal')
    def on_change_with_difference(self, name=None):
        return (self.principal or Decimal(0)) - sum(
            (l.principal or Decimal(0) for l in self.lines or []
                if l.in_price), Decimal(0))


class AmendLine(ModelView):
    __name__ = 'prm.buyback.amend.line'
    __string__ = "Amend Buyback Line"

    instalment = fields.Many2One(
        'prm.buyback.instalment', "Instalment", readonly=True,
        help="Empty for a new one.")
    principal = Monetary(
        "Principal", currency='currency', digits='currency', required=True,
        domain=[
            ('principal', '>=', 0),
            ],
        states={
            'readonly': ~Eval('in_price', True),
            })
    currency = fields.Many2One(
        'currency.currency', "Currency", readonly=True)
    due_date = fields.Date("Due Date", required=True)
    in_price = fields.Boolean("In Price", readonly=True)

    @classmethod
    def default_currency(cls):
        return Transaction().context.get('currency')

    @classmethod
    def default_in_price(cls):
        return True
