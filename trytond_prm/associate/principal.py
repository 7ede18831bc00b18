# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from decimal import Decimal

from trytond.i18n import gettext
from trytond.pool import Pool, PoolMeta
from trytond.transaction import Transaction

from ..tools import spread
from .exceptions import BuybackAmendmentError


class Buyback(metaclass=PoolMeta):
    __name__ = 'prm.buyback'

    def _change_principal(self, date, principals, added, lines):
        """Spread the principal of the instalments anew

        principals is by instalment, as are the lines that owe it until the
        date, and added has the due date and the principal of the new ones.
        Return the new instalments. The sum does not change: the ledger gets
        new lines for the same amount in the currency of the company.
        """
        pool = Pool()
        Instalment = pool.get('prm.buyback.instalment')
        if not principals and not added:
            return []
        last = max((i.sequence or 0 for i in self.instalments), default=0)
        with Transaction().set_context(_buyback_amendment=True):
            if principals:
                Instalment.write(*sum((
                            [[i], {'principal': a}]
                            for i, a in principals.items()), []))
            new = Instalment.create([{
                        'buyback': self.id,
                        'sequence': sequence,
                        'kind': 'instalment',
                        'due_date': due_date,
                        'principal': amount,
                        } for sequence, (due_date, amount) in enumerate(
                        added, last + 1)])
        owed = [i for i in [*principals, *new] if i.principal]
        # A new instalment may pay only interest
        if owed and self.route != 'third_party':
            self._post_principal(date, lines, owed)
        return new

    def _check_principal(self, principals, added):
        "Raise when the principal can not be spread so"
        pool = Pool()
        Lang = pool.get('ir.lang')
        lang = Lang.get()
        if not principals and not added:
            return
        for instalment in principals:
            if not instalment.in_price:
                raise BuybackAmendmentError(
                    gettext('prm.msg_buyback_amend_not_price',
                        instalment=instalment.rec_name))
        amounts = [*principals.values(), *(a for _, a in added)]
        difference = sum(amounts) - sum(i.principal for i in principals)
        if difference or min(amounts) < 0:
            raise BuybackAmendmentError(
                gettext('prm.msg_buyback_amend_principal',
                    buyback=self.rec_name,
                    difference=lang.currency(difference, self.currency)))

    def _get_principal_lines_open(self, instalments):
        """Return the line that owes the principal of each instalment

        It must be the only one, and nothing else is on it.
        """
        pool = Pool()
        Instalment = pool.get('prm.buyback.instalment')
        lines = {}
        if self.route == 'third_party':
            return lines
        ledgers = Instalment.get_ledgers([self])
        for instalment in instalments:
            if not instalment.principal:
                continue
            ledger = ledgers[instalment.id]
            portions = [
                p for p in instalment.lines if not p.line.reconciliation]
            line = portions[0].line if len(portions) == 1 else None
            if (not line
                    or ledger.paid or ledger.waived or ledger.processing
                    or (line.account, line.party) != (
                        self.account_payable, self.party)
                    or abs(line.amount) != instalment.principal):
                raise BuybackAmendmentError(
                    gettext('prm.msg_buyback_amend_moved',
                        instalment=instalment.rec_name))
            lines[instalment] = line
        return lines

    def _post_principal(self, date, lines, instalments):
        "Replace the lines by one for each of the instalments"
        pool = Pool()
        BuybackMove = pool.get('prm.buyback-account.move')
        Line = pool.get('account.move.line')
        Move = pool.get('account.move')
        round_ = self.company.currency.round
        total = sum(i.principal for i in instalments)
        company_amounts = spread(
            sum((l.credit - l.debit for l in lines.values()), Decimal(0)),
            [i.principal / total for i in instalments], round_)
        move = self._get_move(date)
        former = []
        for line in lines.values():
            reverse = Line(
                account=line.account, party=line.party, origin=line,
                debit=line.credit, credit=line.debit)
            if line.second_currency:
                reverse.second_currency = line.second_currency
                reverse.amount_second_currency = -line.amount_second_currency
            former.append(reverse)
        move.lines = former + [
            self._get_payable_line(i, i.principal, a)
            for i, a in zip(instalments, company_amounts)]
        move.save()
        BuybackMove.create([{
                    'buyback': self.id,
                    'move': move.id,
                    'kind': 'reschedule',
                    }])
        self._create_portions([move], 'principal')
        Move.post([move])
        Line.reconcile(*(
                [l.origin, l] for l in Move(move.id).lines
                if isinstance(l.origin, Line)))
        self._block([self.__class__(self.id)])
