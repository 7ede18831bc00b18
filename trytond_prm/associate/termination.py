# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from collections import defaultdict
from decimal import Decimal

from trytond.i18n import gettext
from trytond.model import ModelView, Workflow, fields
from trytond.modules.account.exceptions import AccountMissing
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval
from trytond.tools import grouped_slice
from trytond.transaction import Transaction

from .allocation import allocation_query
from .exceptions import BuybackTerminateError


class Buyback(metaclass=PoolMeta):
    __name__ = 'prm.buyback'

    termination_date = fields.Date(
        "Termination Date",
        states={
            'readonly': Eval('state') != 'running',
            'invisible': ~Eval('state').in_(['running', 'terminated']),
            },
        help="The date of the signed amendment that ends the buyback.\n"
        "Leave empty to use the current date.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._transitions.add(('running', 'terminated'))
        cls._buttons.update({
                'terminate': {
                    'invisible': Eval('state') != 'running',
                    'icon': 'tryton-close',
                    'depends': ['state'],
                    },
                })

    @classmethod
    def copy(cls, buybacks, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('termination_date')
        return super().copy(buybacks, default=default)

    @classmethod
    @ModelView.button
    @Workflow.transition('terminated')
    def terminate(cls, buybacks):
        """End the buybacks where they are

        What is neither paid nor waived is reversed, the shares that it buys
        stay with the associate or come back to him.
        """
        pool = Pool()
        Amendment = pool.get('prm.buyback.amendment')
        BuybackMove = pool.get('prm.buyback-account.move')
        Line = pool.get('account.move.line')
        Move = pool.get('account.move')

        cls.claim(buybacks)
        dates = {
            b: b.termination_date or cls._today(b.company) for b in buybacks}
        opens = cls._get_open_dues(buybacks)
        settled, moves, groups = {}, {}, []
        for buyback in buybacks:
            settled[buyback] = buyback._get_settled(opens[buyback])
            if move := buyback._get_termination_move(
                    dates[buyback], opens[buyback], settled[buyback]):
                moves[buyback] = move
        Amendment.record(dates, 'termination')
        # The reconciliation must not pay the buyback
        cls.write(buybacks, {'state': 'terminated'})
        Move.save(list(moves.values()))
        BuybackMove.create([{
                    'buyback': b.id,
                    'move': m.id,
                    'kind': 'termination',
                    } for b, m in moves.items()])
        Move.post(list(moves.values()))
        posted = iter(Move.browse(list(moves.values())))
        for buyback in buybacks:
            lines = defaultdict(list)
            for line in opens[buyback].lines:
                lines[line.account, line.party].append(line)
            if buyback in moves:
                for line in next(posted).lines:
                    if (line.account, line.party) in lines:
                        lines[line.account, line.party].append(line)
            groups.extend(lines.values())
        Line.reconcile(*groups)
        for date in sorted(set(dates.values())):
            cls._terminate_shares({
                    b: settled[b] for b in buybacks if dates[b] == date},
                date)
        undated = defaultdict(list)
        for buyback, date in dates.items():
            if not buyback.termination_date:
                undated[date].append(buyback)
        for date, sub_buybacks in undated.items():
            cls.write(sub_buybacks, {'termination_date': date})

    @classmethod
    def _get_open_dues(cls, buybacks):
        "Return what is open by buyback"
        pool = Pool()
        Instalment = pool.get('prm.buyback.instalment')
        Line = pool.get('account.move.line')
        Move = pool.get('account.move')
        cursor = Transaction().connection.cursor()

        ledgers = Instalment.get_ledgers(buybacks)
        for buyback in buybacks:
            for instalment in buyback.instalments:
                ledger = ledgers.get(instalment.id)
                if ledger and ledger.processing:
                    raise BuybackTerminateError(
                        gettext('prm.msg_buyback_terminate_processing',
                            buyback=buyback.rec_name,
                            instalment=instalment.rec_name))
        Move.post([
                m.move for b in buybacks for m in b.moves
                if m.move.state == 'draft'])
        opens, by_id = {}, {}
        for buyback in buybacks:
            opens[buyback] = by_id[buyback.id] = _Open([
                    p for i in buyback.instalments for p in i.lines
                    if not p.line.reconciliation])
        query = allocation_query(buybacks)
        entries = defaultdict(Decimal)
        for sub_buybacks in grouped_slice(buybacks, 1000):
            cursor.execute(*query.select(
                    query.buyback, query.due, query.line, query.amount,
                    where=fields.SQL_OPERATORS['in'](
                        query.buyback, [b.id for b in sub_buybacks])
                    & query.posted
                    & query.kind.in_(['open', 'linked', 'owned'])))
            for buyback, due, line, amount in cursor:
                open_ = by_id[buyback]
                if due in open_.rests:
                    round_ = open_.currencies[due].round
                    amount = round_(Decimal(str(amount)))
                    open_.rests[due] -= amount
                    entries[buyback, line] += amount
        lines = {l.id: l for l in Line.browse({l for _, l in entries})}
        for (id_, line), amount in entries.items():
            open_, line = by_id[id_], lines[line]
            size = line.debit - line.credit
            if line.second_currency:
                size = line.amount_second_currency
            if size != amount:
                raise BuybackTerminateError(
                    gettext('prm.msg_buyback_terminate_payment',
                        buyback=cls(id_).rec_name,
                        line=line.rec_name))
            open_.entries.append(line)
        return opens

    def _get_settled(self, open_):
        "Return the number of shares that are paid or waived"
        if self.route == 'third_party':
            rest = sum(
                (i.principal for i in self.instalments
                    if i.in_price and not i.confirmed_date), Decimal(0))
        else:
            rest = sum(
                (open_.rests[p.id] for p in open_.portions
                    if p.nature == 'principal' and p.instalment.in_price),
                Decimal(0))
        if not rest:
            return self.quantity
        return int(self.quantity * (self.price - rest) / self.price)

    def _get_termination_move(self, date, open_, settled):
        "Return the move that reverses what is open, or None"
        totals = defaultdict(lambda: [Decimal(0), Decimal(0)])
        for line in open_.lines:
            total = totals[line.account, line.party]
            total[0] += line.debit - line.credit
            total[1] += line.amount_second_currency or 0
        lines, rest = [], Decimal(0)
        for (account, party), (amount, second) in totals.items():
            if not amount and not second:
                continue
            line = self._get_line(account, -amount)
            line.party = party
            if self.currency != self.company.currency:
                line.second_currency = self.currency
                line.amount_second_currency = -second
            lines.append(line)
            rest -= amount
        if not lines:
            return None
        interest, current, exchange = Decimal(0), Decimal(0), rest
        for portion in open_.portions:
            amount = open_.get_company_rest(portion)
            exchange -= amount
            if portion.nature != 'principal':
                interest += amount
            elif portion.instalment.kind == 'current_account':
                current += amount
        credits = self._get_debits(
            rest - interest - current - exchange, self.quantity - settled)
        credits += [
            (self.account_interest, interest),
            (self.account_current, current),
            ]
        if exchange:
            credits.append((self._get_exchange_account(exchange), exchange))
        move = self._get_move(date)
        move.lines = lines + [
            self._get_line(account, -amount)
            for account, amount in credits if amount]
        return move

    def _get_exchange_account(self, amount):
        "Return the account credited with the exchange, or debited if negative"
        pool = Pool()
        Configuration = pool.get('account.configuration')
        name = 'credit' if amount > 0 else 'debit'
        account = Configuration(1).get_multivalue(
            f'currency_exchange_{name}_account', company=self.company.id)
        if not account:
            raise AccountMissing(gettext(
                    'account.msg_reconciliation_currency_exchange_'
                    f'{name}_account_missing',
                    company=self.company.rec_name))
        return account

    @classmethod
    def _terminate_shares(cls, settled, date):
        "Let only the settled shares of the buybacks leave the associates"
        pool = Pool()
        ShareTransaction = pool.get('prm.share.transaction')
        reverse, values = [], []
        for buyback, quantity in settled.items():
            if quantity == buyback.quantity:
                if not buyback.transferred:
                    values.extend(buyback._get_share_transactions(date))
                continue
            reverse.extend(reversed([
                        t for t in buyback.share_transactions
                        if t.state == 'posted' and t.kind != 'reversal'
                        and not t.reversed_by]))
            if quantity:
                values.extend(
                    buyback._get_share_transactions(date, quantity=quantity))
        if reverse:
            ShareTransaction.create_reversals(reverse, date)
        if values:
            ShareTransaction.post(ShareTransaction.create(values))


class _Open:
    "What is open of a buyback"

    def __init__(self, portions):
        self.portions = portions
        self.rests = {p.id: p.amount for p in portions}
        self.currencies = {p.id: p.currency for p in portions}
        self.entries = []

    @property
    def lines(self):
        "The lines to reconcile: what is owed and what pays a part of it"
        return list(dict.fromkeys([p.line for p in self.portions])) + (
            self.entries)

    def get_company_rest(self, portion):
        "Return what is open in the currency of the company"
        line, rest = portion.line, self.rests[portion.id]
        if not line.second_currency:
            return rest
        return line.account.company.currency.round(
            line.credit * rest / -line.amount_second_currency)
