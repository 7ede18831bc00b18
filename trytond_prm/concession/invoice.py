# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from collections import defaultdict
from decimal import Decimal
from itertools import chain

from trytond.i18n import gettext
from trytond.model import ModelView, fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Bool, Eval
from trytond.tools import grouped_slice
from trytond.transaction import Transaction

from ..tools import spread
from .exceptions import InvoiceOverCreditError

_SIZE = 1000  # records of one statement


class Invoice(metaclass=PoolMeta):
    __name__ = 'account.invoice'

    @classmethod
    def get_creditable_lines(cls, invoices):
        """Return for each invoice what remains to credit of each line

        The amounts are untaxed, in the currency of the invoice, less what
        any other invoice which is not cancelled credits.
        """
        remaining = {
            i: {l: l.amount for l in i.line_lines if l.amount}
            for i in invoices}
        loose = defaultdict(list)
        lines = {l.id: (i, l) for i in invoices for l in i.line_lines}
        for line_id, credit in cls._get_credit_lines(
                [l for _, l in lines.values()]):
            invoice, line = lines[line_id]
            remaining[invoice].setdefault(line, Decimal(0))
            remaining[invoice][line] += credit.amount
        for invoice, credit in cls._get_loose_credit_lines(invoices):
            loose[invoice].append(credit)
        for invoice, credits in loose.items():
            cls._spread_loose(remaining[invoice], credits)
        return remaining

    @classmethod
    def _get_credit_lines(cls, lines):
        "Return couples of line and line which credits it"
        pool = Pool()
        Line = pool.get('account.invoice.line')
        credits = []
        source = {l.id: l.id for l in lines}
        while lines:
            found = []
            for sub_lines in grouped_slice(lines, _SIZE):
                sub_lines = list(sub_lines)
                found.extend(Line.search([
                            ['OR',
                                ('origin', 'in', list(map(str, sub_lines))),
                                ('concession_line', 'in',
                                    [l.id for l in sub_lines]),
                                ],
                            ('type', '=', 'line'),
                            ('invoice.state', '!=', 'cancelled'),
                            ], order=[]))
            lines = []
            for line in found:
                origin = line.concession_line or line.origin
                # A line credits only one other and once
                if line.id in source:
                    continue
                source[line.id] = source[origin.id]
                credits.append((source[line.id], line))
                lines.append(line)
        return credits

    @classmethod
    def _get_loose_credit_lines(cls, invoices):
        "Return couples of invoice and line which credits it as a whole"
        return []

    @classmethod
    def _spread_loose(cls, remaining, credits):
        "Take the credit lines off the remaining amounts of similar lines"
        def key(line):
            return line.account, frozenset(line.taxes)

        amounts = defaultdict(Decimal)
        for credit in credits:
            amounts[key(credit)] += credit.amount
        for group, amount in amounts.items():
            if not amount:
                continue
            lines = [l for l in remaining if key(l) == group] or [*remaining]
            total = sum(remaining[l] for l in lines)
            if not total:
                lines, total = lines[-1:], Decimal(1)
                shares = [Decimal(1)]
            else:
                shares = [remaining[l] / total for l in lines]
            for line, part in zip(
                    lines, spread(amount, shares, line_round(lines))):
                remaining[line] += part

    @classmethod
    def _get_credited(cls, invoices):
        "Return couples of invoice and invoice that one of its lines credits"
        pool = Pool()
        Line = pool.get('account.invoice.line')
        credited = set()
        for invoice in invoices:
            for line in invoice.line_lines:
                origin = line.concession_line or line.origin
                if isinstance(origin, Line) and origin.invoice:
                    credited.add((invoice, origin.invoice))
        return credited

    def get_credited_invoice(self):
        "Return the only invoice that the invoice credits or None"
        invoices = {i for _, i in self._get_credited([self])}
        return invoices.pop() if len(invoices) == 1 else None

    @classmethod
    def _check_credited(cls, invoices):
        """Refuse to credit more than what gestures left of an invoice

        The lock makes a concurrent grant, which can not see the invoices of
        this transaction, fail and be retried by the server.
        """
        pool = Pool()
        Concession = pool.get('prm.concession')
        Lang = pool.get('ir.lang')
        if Transaction().context.get('_concession_checked'):
            return
        credited = cls._get_credited([
                i for i in invoices
                if i.type == 'out' and i.state in {'draft', 'validated'}])
        origins = cls.browse(list({o for _, o in credited}))
        if not origins:
            return
        Concession.lock_invoices(origins)
        conceded = set()
        for sub_origins in grouped_slice(origins, _SIZE):
            conceded.update(c.invoice for c in Concession.search([
                        ('invoice', 'in', [o.id for o in sub_origins]),
                        ('state', '=', 'granted'),
                        ['OR',
                            ('kind', 'in', list(Concession._invoice_kinds())),
                            [
                                ('kind', '=', 'discount'),
                                ('discount_on', '=', 'invoice'),
                                ],
                            ],
                        ], order=[]))
        remaining = cls.get_creditable_lines(
            [o for o in origins if o in conceded])
        for origin, lines in remaining.items():
            excess = -sum(lines.values())
            if origin.untaxed_amount > 0 and excess > 0:
                invoice = min(
                    (i for i, o in credited if o == origin), key=int)
                raise InvoiceOverCreditError(gettext(
                        'prm.msg_invoice_over_credit',
                        invoice=invoice.rec_name,
                        excess=Lang.get().currency(excess, origin.currency),
                        origin=origin.rec_name))

    @classmethod
    def post_batch(cls, invoices):
        # The rest of the posting, which may be later, adds no line
        cls._check_credited(invoices)
        cls._consume_discounts(invoices)
        super().post_batch(invoices)

    @classmethod
    def _post(cls, invoices):
        cls._check_credited(invoices)
        cls._consume_discounts(invoices)
        super()._post(invoices)
        cls._give_back_discounts(invoices)

    @classmethod
    def _consume_discounts(cls, invoices):
        """Add the granted discounts to the next invoices of the customers

        A discount waits until an invoice is at least as high.
        """
        pool = Pool()
        Concession = pool.get('prm.concession')
        Date = pool.get('ir.date')
        Result = pool.get('prm.concession-account.invoice')

        invoices = [
            i for i in invoices
            if i.type == 'out' and i.state in {'draft', 'validated'}
            and not i.move]
        if not invoices:
            return
        discounts = defaultdict(list)
        for sub_parties in grouped_slice(
                list({i.party.id for i in invoices}), _SIZE):
            for concession in Concession.search([
                        ('party', 'in', list(sub_parties)),
                        ('kind', '=', 'discount'),
                        ('state', '=', 'granted'),
                        ('consumed_date', '=', None),
                        ['OR',
                            ('discount_on', '!=', 'invoice'),
                            ('invoice', '=', None),
                            ],
                        ],
                    order=[('date', 'ASC'), ('id', 'ASC')]):
                discounts[
                    concession.company, concession.party, concession.currency
                    ].append(concession)
        if not discounts:
            return
        to_save, to_create, consumed = [], [], defaultdict(list)
        for invoice in invoices:
            with Transaction().set_context(company=invoice.company.id):
                date = invoice.invoice_date or Date.today()
            waiting = discounts[
                invoice.company, invoice.party, invoice.currency]
            if not waiting or not invoice._is_discountable():
                continue
            left = sum(l.amount for l in invoice.line_lines)
            lines = []
            for concession in list(waiting):
                if concession.date > date or concession.amount > left:
                    continue
                waiting.remove(concession)
                left -= concession.amount
                lines.extend(concession._get_discount_lines(invoice))
                consumed[date].append(concession)
                to_create.append({
                        'concession': concession.id,
                        'invoice': invoice.id,
                        })
            if lines:
                invoice.lines = [*invoice.lines, *lines]
                to_save.append(invoice)
        if to_save:
            # Lines are added to drafts only: the posting which takes the
            # discount keeps who has validated the invoice
            cls.write([i for i in to_save if i.state == 'validated'], {
                    'state': 'draft',
                    })
            cls.save(to_save)
            Result.create(to_create)
            Concession.write(*chain(*(
                        (concessions, {'consumed_date': date})
                        for date, concessions in consumed.items())))

    @classmethod
    def _give_back_discounts(cls, invoices):
        """Let the discounts which the invoices credit wait again

        Only those that are credited as a whole: the customer would else
        never get them.
        """
        pool = Pool()
        Concession = pool.get('prm.concession')
        Line = pool.get('account.invoice.line')
        if Transaction().context.get('_concession_take_back'):
            return
        discounts = {
            l.origin: l.invoice for l in Line.browse([
                    l.origin.id for i in invoices for l in i.line_lines
                    if isinstance(l.origin, Line)])
            if isinstance(l.origin, Concession)}
        if not discounts:
            return
        remaining = cls.get_creditable_lines(
            cls.browse(list(set(discounts.values()))))
        Concession.write([
                c for c in Concession.browse(list(discounts))
                if c.kind == 'discount' and c.state == 'granted'
                and c.consumed_date
                and (c.discount_on != 'invoice' or not c.invoice)
                and not any(
                    a for l, a in remaining[discounts[c]].items()
                    if l.origin == c)], {
                'consumed_date': None,
                })

    def _credit(self, **values):
        credit = super()._credit(**values)
        if any(l.concession_line for l in self.line_lines):
            # The last credit note of an invoice has the rest of its taxes
            credit.taxes = [t._credit() for t in self.taxes]
        return credit

    def _is_discountable(self):
        "Test if the invoice is neither a credit nor checked by its source"
        pool = Pool()
        Concession = pool.get('prm.concession')
        return (
            self.source_total_amount is None
            and self.source_untaxed_amount is None
            and not any(
                isinstance(l.origin, (l.__class__, Concession))
                for l in self.line_lines))

    @classmethod
    @ModelView.button
    def cancel(cls, invoices):
        pool = Pool()
        Concession = pool.get('prm.concession')
        Result = pool.get('prm.concession-account.invoice')
        super().cancel(invoices)
        # What a cancelled invoice has consumed waits for the next one
        concessions = []
        for sub_invoices in grouped_slice(invoices, _SIZE):
            for result in Result.search([
                        ('invoice', 'in', [i.id for i in sub_invoices]),
                        ('invoice.state', '=', 'cancelled'),
                        ('concession.kind', '=', 'discount'),
                        ('concession.state', '=', 'granted'),
                        ], order=[]):
                concessions.append(result.concession)
        if concessions:
            Concession.write(concessions, {'consumed_date': None})

    def get_origin_invoices(self, name):
        invoices = set(super().get_origin_invoices(name))
        for line in self.lines:
            if line.concession_line:
                invoices.add(line.concession_line.invoice.id)
        invoices.discard(self.id)
        return list(invoices)

    @classmethod
    def search_origin_invoices(cls, name, clause):
        return ['OR',
            super().search_origin_invoices(name, clause),
            ('lines.concession_line.invoice' + clause[0][len(name):],
                *clause[1:]),
            ]


def line_round(lines):
    return lines[0].currency.round


class InvoiceLine(metaclass=PoolMeta):
    __name__ = 'account.invoice.line'

    concession_line = fields.Many2One(
        'account.invoice.line', "Credited Line", readonly=True,
        ondelete='RESTRICT',
        states={
            'invisible': ~Bool(Eval('concession_line')),
            },
        help="The line of the origin invoice that the commercial gesture "
        "credits.")

    @classmethod
    def _get_origin(cls):
        return super()._get_origin() + ['prm.concession']

    @classmethod
    def copy(cls, lines, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('concession_line', None)
        return super().copy(lines, default=default)


class InvoiceLineCommission(metaclass=PoolMeta):
    __name__ = 'account.invoice.line'

    def _get_commission_amount(self, amount, plan, pattern=None):
        # A gesture gives back the commission of what it credits
        if self.concession_line:
            return plan.compute(
                amount, self.concession_line.product, pattern=pattern)
        return super()._get_commission_amount(amount, plan, pattern=pattern)
