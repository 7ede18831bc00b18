# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from collections import defaultdict

from trytond.pool import Pool, PoolMeta
from trytond.transaction import Transaction


class Move(metaclass=PoolMeta):
    __name__ = 'account.move'

    @classmethod
    def _get_origin(cls):
        return super()._get_origin() + ['prm.buyback']

    def cancel(self, default=None, reversal=False):
        pool = Pool()
        BuybackMove = pool.get('prm.buyback-account.move')
        move = super().cancel(default=default, reversal=reversal)
        # What is not owed any more is not paid
        links = BuybackMove.search([
                ('move', '=', self.id),
                ('kind', 'in', ['earn_out', 'interest']),
                ], order=[])
        BuybackMove.create([{
                    'buyback': l.buyback.id,
                    'move': move.id,
                    'kind': 'waiver',
                    } for l in links])
        return move


class MoveLine(metaclass=PoolMeta):
    __name__ = 'account.move.line'

    @classmethod
    def _get_origin(cls):
        return super()._get_origin() + ['prm.buyback.instalment']


class Reconciliation(metaclass=PoolMeta):
    __name__ = 'account.move.reconciliation'

    @classmethod
    def on_modification(cls, mode, reconciliations, field_names=None):
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        Portion = pool.get('prm.buyback.instalment.line')
        transaction = Transaction()
        context = transaction.context

        super().on_modification(mode, reconciliations, field_names=field_names)

        lines = {l.id for r in reconciliations for l in r.lines}
        portions = Portion.search([
                ('line', 'in', list(lines)),
                ('instalment.buyback.state', 'in', ['running', 'paid']),
                ], order=[])
        if portions:
            with transaction.set_context(
                    queue_batch=context.get('queue_batch', True)):
                Buyback.__queue__.process(
                    list({p.instalment.buyback for p in portions}))


def _replace_lines(kind, move, lines, new_lines):
    """Link the move to the buybacks of the lines

    What the lines owe is spread over the new lines by due date, the interest
    before the principal.
    """
    pool = Pool()
    BuybackMove = pool.get('prm.buyback-account.move')
    Portion = pool.get('prm.buyback.instalment.line')
    portions = Portion.search([('line', 'in', [l.id for l in lines])])
    if not portions:
        return
    BuybackMove.create([{
                'buyback': b.id,
                'move': move.id,
                'kind': kind,
                } for b in {p.instalment.buyback for p in portions}])
    portions = sorted(portions, key=lambda p: (
            p.instalment.due_date, p.nature == 'principal', p.id))
    to_create = []
    rests = [[p, p.amount] for p in portions]
    for line in new_lines:
        amount = abs(line.amount)
        while amount and rests:
            portion, rest = rests[0]
            part = min(amount, rest)
            amount -= part
            rests[0][1] -= part
            if not rests[0][1]:
                rests.pop(0)
            to_create.append({
                    'instalment': portion.instalment.id,
                    'line': line.id,
                    'nature': portion.nature,
                    'amount': part,
                    })
    Portion.create(to_create)


class RescheduleLines(metaclass=PoolMeta):
    __name__ = 'account.move.line.reschedule'

    @classmethod
    def reschedule_lines(cls, lines, journal, terms):
        move, balance_line = super().reschedule_lines(lines, journal, terms)
        new_lines = [l for l in move.lines if l != balance_line]
        new_lines.sort(key=lambda l: (l.maturity_date, l.id))
        _replace_lines('reschedule', move, lines, new_lines)
        return move, balance_line


class DelegateLines(metaclass=PoolMeta):
    __name__ = 'account.move.line.delegate'

    @classmethod
    def delegate_lines(cls, lines, party, journal, date=None):
        pool = Pool()
        Line = pool.get('account.move.line')
        move = super().delegate_lines(lines, party, journal, date=date)
        delegated = defaultdict(list)
        for line in Line.search([('move', '=', move.id)]):
            if line.origin in lines and not line.reconciliation:
                delegated[line.origin].append(line)
        for line in lines:
            _replace_lines('delegation', move, [line], delegated[line])
        return move


class CancelMoves(metaclass=PoolMeta):
    __name__ = 'account.move.cancel'

    def transition_cancel(self):
        """Cancel the buybacks of which the recognition is cancelled

        Else the reconciliation with the reversal would settle them and
        transfer the shares.
        """
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        BuybackMove = pool.get('prm.buyback-account.move')
        buybacks = {l.buyback for l in BuybackMove.search([
                    ('move', 'in', list(map(int, self.records))),
                    ('kind', '=', 'recognition'),
                    ('buyback.state', '=', 'running'),
                    ], order=[])}
        if not buybacks:
            return super().transition_cancel()
        moves = {l.move for b in buybacks for l in b.moves}
        Buyback.cancel(list(buybacks))
        others = [m.id for m in self.records if m not in moves]
        if not others:
            return 'end'
        with Transaction().set_context(active_ids=others):
            del self.records
            try:
                return super().transition_cancel()
            finally:
                del self.records
