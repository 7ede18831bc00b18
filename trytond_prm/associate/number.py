# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"The ranges of the numbers of shares."
from bisect import bisect_right

from trytond.i18n import gettext
from trytond.model import Check, Index, ModelSQL, ModelView, fields
from trytond.model.exceptions import AccessError
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Bool, Eval

from ..model import get_parents
from .exceptions import ShareNumberError, ShareTransactionAccessError


def count(ranges):
    "Return how many numbers the ranges of first and last number have"
    return sum(last - first + 1 for first, last in ranges)


def subtract(ranges, others):
    "Return the ranges of numbers without the others"
    for first, last in others:
        rest = []
        for start, end in ranges:
            if end < first or start > last:
                rest.append((start, end))
                continue
            if start < first:
                rest.append((start, first - 1))
            if end > last:
                rest.append((last + 1, end))
        ranges = rest
    return ranges


def head(ranges, quantity):
    "Return the ranges of the first numbers, as many as the quantity"
    result = []
    for first, last in ranges:
        if quantity <= 0:
            break
        result.append((first, min(last, first + quantity - 1)))
        quantity -= last - first + 1
    return result


def union(ranges):
    "Return the ranges in their order, those that touch each other as one"
    result = []
    for first, last in sorted(ranges):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(last, result[-1][1]))
        else:
            result.append((first, last))
    return result


def overlap(ranges):
    "Return the first number that is in two of the ranges or None"
    previous = None
    for first, last in sorted(ranges):
        if previous is not None and first <= previous:
            return first
        previous = last


def contains(ranges, number):
    "Test if the number is in one of the ranges, which are in their order"
    index = bisect_right(ranges, (number, float('inf'))) - 1
    return index >= 0 and ranges[index][1] >= number


def as_text(ranges):
    return ', '.join(
        f'{first}–{last}' if first != last else str(first)
        for first, last in ranges)


class RangeMixin:
    """A range of the numbers of shares.

    _parent is the name of the field of the record that has the range.
    """
    __slots__ = ()
    _parent = None

    from_number = fields.Integer(
        "From Number", required=True, help="The number of the first share.")
    to_number = fields.Integer(
        "To Number", required=True, help="The number of the last share.")
    quantity = fields.Function(
        fields.Integer("Quantity"), 'on_change_with_quantity')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add(cls._parent)
        table = cls.__table__()
        cls._sql_indexes.add(
            Index(table,
                (getattr(table, cls._parent), Index.Equality()),
                (table.from_number, Index.Range())))
        cls._sql_constraints += [
            ('numbers',
                Check(table, (table.from_number > 0)
                    & (table.to_number >= table.from_number)),
                'prm.msg_share_range'),
            ]
        cls._order = [('from_number', 'ASC'), ('id', None)]

    @fields.depends('from_number', 'to_number')
    def on_change_with_quantity(self, name=None):
        if self.from_number and self.to_number:
            return self.to_number - self.from_number + 1

    def get_rec_name(self, name):
        return as_text([(self.from_number, self.to_number)])


class NumberedMixin:
    """Shares whose numbers are in several ranges.

    The first range is in the record itself, the others in its field ranges.
    """
    __slots__ = ()

    numbers = fields.Function(fields.Char(
            "Numbers",
            states={
                'invisible': ~Eval('numbered'),
                },
            help="The numbers of the shares."),
        'get_numbers')

    @fields.depends('numbered', 'quantity', 'from_number', 'ranges')
    def on_change_with_to_number(self, name=None):
        if self.numbered and self.quantity and self.from_number:
            others = sum(r.quantity or 0 for r in self.ranges or [])
            return self.from_number + self.quantity - others - 1

    @classmethod
    def get_numbers(cls, records, name):
        return {r.id: as_text(r.number_ranges) for r in records}

    @property
    def number_ranges(self):
        "The ranges of numbers, none if the shares are not numbered"
        if not self.numbered or self.from_number is None:
            return []
        return [(self.from_number, self.to_number)] + [
            (r.from_number, r.to_number) for r in self.ranges]

    def check_ranges(self, message):
        """Raise ShareNumberError if the ranges are not those of the quantity

        message is the id of the message to which the reason is appended.
        """
        ranges = self.number_ranges
        if not ranges:
            return
        real = [(first, last) for first, last in ranges if first <= last]
        if (number := overlap(real)) is not None:
            raise ShareNumberError(
                gettext(f'{message}_overlap',
                    record=self.rec_name, number=number))
        if (ranges[0][0] < 1 or real != ranges
                or count(ranges) != self.quantity):
            raise ShareNumberError(
                gettext(f'{message}_quantity',
                    record=self.rec_name,
                    numbers=as_text(real),
                    quantity=self.quantity))


class ShareTransactionRange(RangeMixin, ModelSQL, ModelView):
    __name__ = 'prm.share.transaction.range'
    __string__ = "Numbers of Share Transaction"
    _parent = 'transaction'

    transaction = fields.Many2One(
        'prm.share.transaction', "Transaction", required=True,
        ondelete='CASCADE',
        states={
            'readonly': Bool(Eval('transaction')),
            })

    @classmethod
    def check_modification(cls, mode, ranges, values=None, external=False):
        super().check_modification(
            mode, ranges, values=values, external=external)
        for transaction in get_parents(cls._parent, ranges, values):
            if transaction.state != 'draft':
                raise ShareTransactionAccessError(
                    gettext('prm.msg_share_transaction_write',
                        transaction=transaction.rec_name))


class BuybackRange(RangeMixin, ModelSQL, ModelView):
    __name__ = 'prm.buyback.range'
    __string__ = "Numbers of Buyback"
    _parent = 'buyback'

    buyback = fields.Many2One(
        'prm.buyback', "Buyback", required=True, ondelete='CASCADE',
        states={
            'readonly': Bool(Eval('buyback')),
            })

    @classmethod
    def check_modification(cls, mode, ranges, values=None, external=False):
        super().check_modification(
            mode, ranges, values=values, external=external)
        for buyback in get_parents(cls._parent, ranges, values):
            if buyback.state not in {'draft', 'announced'}:
                raise AccessError(
                    gettext('prm.msg_buyback_modify',
                        **buyback.__names__('ranges', buyback)))


class Buyback(NumberedMixin, metaclass=PoolMeta):
    __name__ = 'prm.buyback'

    to_number = fields.Function(fields.Integer(
            "To Number",
            states={
                'invisible': ~Eval('numbered'),
                },
            help="The last number of the shares that follow the first one."),
        'on_change_with_to_number')
    ranges = fields.One2Many(
        'prm.buyback.range', 'buyback', "Other Numbers",
        states={
            'readonly': ~Eval('state').in_(['draft', 'announced']),
            'invisible': (
                ~Eval('numbered')
                | (~Eval('state').in_(['draft', 'announced'])
                    & ~Bool(Eval('ranges')))),
            },
        help="The numbers of the shares that do not follow the first ones.")

    @classmethod
    def validate_fields(cls, buybacks, field_names):
        super().validate_fields(buybacks, field_names)
        if field_names and field_names & {
                'company', 'party', 'share_class', 'quantity', 'from_number',
                'ranges', 'announcement_date'}:
            # What is reserved changes
            cls.check_shares(
                [b for b in buybacks if b.state in {'announced', 'signed'}])

    @classmethod
    def check_shares(cls, buybacks):
        """Raise when the associate has not the shares, less the reserved ones

        Raise ShareNumberError if it is about their numbers.
        """
        pool = Pool()
        ShareTransaction = pool.get('prm.share.transaction')
        for buyback in buybacks:
            buyback.check_ranges('prm.msg_buyback_number')
        super().check_shares(buybacks)
        ShareTransaction.check_numbers([
                (b, b.share_class, b.party, b.announcement_date)
                for b in buybacks])

    def _get_share_transactions(self, date, quantity=None):
        transactions = super()._get_share_transactions(
            date, quantity=quantity)
        for values in transactions:
            ranges = head(self.number_ranges, values['quantity'])
            if ranges:
                (first, last), *others = ranges
                values['from_number'], values['to_number'] = first, last
                values['ranges'] = [('create', [{
                                'from_number': first,
                                'to_number': last,
                                } for first, last in others])]
        return transactions
