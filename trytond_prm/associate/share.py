# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from bisect import bisect_left, bisect_right
from collections import defaultdict
from itertools import groupby

from sql import Cast, Literal, Null, Union, Window
from sql.aggregate import Min, Sum
from sql.conditionals import Case, Coalesce, NullIf
from sql.functions import CharLength, Round, Sign

from trytond import backend
from trytond.i18n import gettext
from trytond.model import (
    Check, DeactivableMixin, Index, ModelSQL, ModelView, Unique, Workflow,
    fields)
from trytond.modules.currency.fields import Monetary
from trytond.modules.product import price_digits
from trytond.pool import Pool
from trytond.pyson import Bool, Eval, If
from trytond.tools import grouped_slice, sqlite_apply_types
from trytond.transaction import Transaction
from trytond.wizard import Button, StateTransition, StateView, Wizard

from ..model import WorkflowAccessMixin
from .exceptions import (
    ShareClassAccessError, ShareClassValidationError, ShareClassWarning,
    ShareHoldingError, ShareNumberError, ShareTransactionAccessError,
    ShareTransactionError)
from .number import NumberedMixin, as_text, contains, union


class ShareClass(DeactivableMixin, ModelSQL, ModelView):
    __name__ = 'prm.share.class'
    __string__ = "Share Class"

    company = fields.Many2One('company.company', "Company", required=True)
    name = fields.Char(
        "Name", required=True, translate=True,
        help="The name of the class in the articles of association.")
    nominal_value = Monetary(
        "Nominal Value", currency='currency', digits=price_digits,
        domain=[
            ['OR',
                ('nominal_value', '=', None),
                ('nominal_value', '>=', 0),
                ],
            ],
        help="The part of the capital that one share represents.\n"
        "Leave empty for shares without par value.")
    currency = fields.Many2One(
        'currency.currency', "Currency", required=True,
        help="The currency of the capital.")
    votes = fields.Integer(
        "Votes", required=True, domain=[('votes', '>=', 0)],
        help="The number of votes of one share.")
    preferred = fields.Boolean(
        "Preferred",
        help="Check if the shares of the class have a priority on dividends "
        "or on the liquidation.")
    numbered = fields.Boolean(
        "Numbered",
        help="Check if each share of the class has its own number.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        table = cls.__table__()
        cls._sql_constraints += [
            ('company_name_unique',
                Unique(table, table.company, table.name),
                'prm.msg_share_class_name_unique'),
            ]
        cls._order.insert(0, ('name', 'ASC'))

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @classmethod
    def default_currency(cls):
        pool = Pool()
        Company = pool.get('company.company')
        if company := cls.default_company():
            return Company(company).currency.id

    @classmethod
    def default_votes(cls):
        return 1

    @classmethod
    def default_preferred(cls):
        return False

    @classmethod
    def default_numbered(cls):
        return False

    @classmethod
    def validate_fields(cls, classes, field_names):
        super().validate_fields(classes, field_names)
        cls.check_currency(classes, field_names)

    @classmethod
    def check_currency(cls, classes, field_names=None):
        "Raise when the capital of a company has more than one currency"
        if field_names and not (field_names & {'company', 'currency'}):
            return
        with Transaction().set_context(active_test=False):
            siblings = cls.search([
                    ('company', 'in', list({c.company.id for c in classes})),
                    ])
        currencies = defaultdict(set)
        for sibling in siblings:
            currencies[sibling.company].add(sibling.currency)
        for class_ in classes:
            if len(currencies[class_.company]) > 1:
                raise ShareClassValidationError(
                    gettext('prm.msg_share_class_currency',
                        share_class=class_.rec_name,
                        company=class_.company.rec_name))

    @classmethod
    def check_modification(cls, mode, classes, values=None, external=False):
        pool = Pool()
        ShareTransaction = pool.get('prm.share.transaction')
        Warning = pool.get('res.user.warning')
        super().check_modification(
            mode, classes, values=values, external=external)
        frozen = {'company', 'currency', 'numbered'}
        weighted = {'nominal_value', 'votes'}
        changed = values.keys() & (frozen | weighted) if values else set()
        if mode != 'write' or not changed:
            return
        used = {t.share_class for t in ShareTransaction.search([
                    ('share_class', 'in', [c.id for c in classes]),
                    ('state', '=', 'posted'),
                    ], order=[])}
        for class_ in classes:
            if class_ not in used:
                continue
            for name in sorted(changed):
                value = getattr(class_, name)
                if values[name] == (
                        value.id if isinstance(value, ModelSQL) else value):
                    continue
                field = cls.__names__(name)
                if name in frozen:
                    raise ShareClassAccessError(
                        gettext('prm.msg_share_class_modify',
                            share_class=class_.rec_name, **field))
                key = Warning.format(f'share_class_{name}', [class_])
                if Warning.check(key):
                    raise ShareClassWarning(key,
                        gettext('prm.msg_share_class_modify_weight',
                            share_class=class_.rec_name, **field))

    def get_numbers(self, party, date):
        """Return the ranges of numbers that the party holds at the date

        Each is the first and the last number, in their order.
        """
        return self.get_held_numbers([self], date)[self.id, party.id]

    @classmethod
    def get_held_numbers(cls, classes, date):
        """Return the ranges of numbers held at the date

        They are by the ids of the share class and of the holder.
        """
        pool = Pool()
        ShareTransaction = pool.get('prm.share.transaction')
        cursor = Transaction().connection.cursor()
        changes = defaultdict(lambda: defaultdict(int))
        for sub_classes in grouped_slice(classes, 1000):
            ids = [c.id for c in sub_classes]
            legs = ShareTransaction.legs_query(
                where=lambda t: (
                    fields.SQL_OPERATORS['in'](t.share_class, ids)
                    & (t.state == 'posted') & (t.date <= date)),
                numbers=True)
            cursor.execute(*legs.select(
                    legs.share_class, legs.party, legs.from_number,
                    legs.to_number, Sign(legs.quantity)))
            for class_, party, first, last, sign in cursor:
                changes[class_, party][first] += sign
                changes[class_, party][last + 1] -= sign
        held = defaultdict(list)
        for key, numbers in changes.items():
            quantity = 0
            for number in sorted(n for n, q in numbers.items() if q):
                if not quantity:
                    start = number
                quantity += numbers[number]
                if not quantity:
                    held[key].append((start, number - 1))
        return held

    @classmethod
    def claim(cls, classes):
        """Let nobody else post to the registers of the classes

        The update makes a concurrent transaction that claims the same class
        wait, and then restart with what this one posted, on any database.
        A lock of the records alone would let it go on with a view of the
        register older than the lock.
        """
        table = cls.__table__()
        cursor = Transaction().connection.cursor()
        ids = sorted({c.id for c in classes})
        for sub_ids in grouped_slice(ids, backend.MAX_QUERY_PARAMS):
            cursor.execute(*table.update(
                    [table.company], [table.company],
                    where=fields.SQL_OPERATORS['in'](
                        table.id, list(sub_ids))))


class ShareTransaction(
        NumberedMixin, WorkflowAccessMixin, Workflow, ModelSQL, ModelView):
    __name__ = 'prm.share.transaction'
    __string__ = "Share Transaction"
    _rec_name = 'number'

    _states = {
        'readonly': Eval('state') != 'draft',
        }
    _derived = {
        'readonly': (Eval('state') != 'draft') | (Eval('kind') == 'reversal'),
        }

    number = fields.Char(
        "Number", readonly=True,
        help="The number of the transaction in the register.")
    company = fields.Many2One(
        'company.company', "Company", required=True, states=_states)
    date = fields.Date(
        "Date", required=True, states=_states,
        help="The date from which the transaction counts in the holdings.")
    kind = fields.Selection([
            ('issue', "Issue"),
            ('transfer', "Transfer"),
            ('repurchase', "Repurchase"),
            ('cancellation', "Cancellation"),
            ('reversal', "Reversal"),
            ], "Kind", required=True, sort=False, states=_states)
    kind_string = kind.translated('kind')
    share_class = fields.Many2One(
        'prm.share.class', "Share Class", required=True,
        domain=[
            ('company', '=', Eval('company', -1)),
            ],
        states=_derived)
    numbered = fields.Function(
        fields.Boolean("Numbered"), 'on_change_with_numbered')
    quantity = fields.Integer("Quantity", required=True, states=_derived)
    party_from = fields.Many2One(
        'party.party', "From", ondelete='RESTRICT',
        states={
            'readonly': _derived['readonly'],
            'invisible': Eval('kind') == 'issue',
            'required': Eval('kind') == 'repurchase',
            },
        context={
            'company': Eval('company', -1),
            },
        depends={'company'},
        help="The holder who gives the shares.\n"
        "Leave empty for the shares that the company holds itself.")
    party_to = fields.Many2One(
        'party.party', "To", ondelete='RESTRICT',
        states={
            'readonly': _derived['readonly'],
            'invisible': Eval('kind') == 'cancellation',
            'required': Eval('kind') == 'issue',
            },
        context={
            'company': Eval('company', -1),
            },
        depends={'company'},
        help="The holder who receives the shares.\n"
        "Leave empty for the company itself.")
    unit_price = Monetary(
        "Unit Price", currency='currency', digits=price_digits,
        states=_derived,
        help="The price of one share, empty when it is not known.")
    currency = fields.Function(fields.Many2One(
            'currency.currency', "Currency"), 'on_change_with_currency')
    amount = fields.Function(Monetary(
            "Amount", currency='currency', digits='currency'),
        'on_change_with_amount')
    from_number = fields.Integer(
        "From Number",
        states={
            'readonly': _derived['readonly'],
            'invisible': ~Eval('numbered'),
            'required': Bool(Eval('numbered')),
            },
        help="The number of the first share.")
    to_number = fields.Integer(
        "To Number",
        states={
            'readonly': _derived['readonly'],
            'invisible': ~Eval('numbered'),
            'required': Bool(Eval('numbered')),
            },
        help="The last number of the shares that follow the first one.")
    ranges = fields.One2Many(
        'prm.share.transaction.range', 'transaction', "Other Numbers",
        states={
            'readonly': _derived['readonly'],
            'invisible': (
                ~Eval('numbered')
                | ((Eval('state') != 'draft') & ~Bool(Eval('ranges')))),
            },
        help="The numbers of the shares that do not follow the first ones.")
    origin = fields.Reference(
        "Origin", selection='get_origin', readonly=True,
        help="The record that made the transaction.")
    reversal_of = fields.Many2One(
        'prm.share.transaction', "Reversal of", ondelete='RESTRICT',
        domain=[
            ('company', '=', Eval('company', -1)),
            ('state', '=', 'posted'),
            ('kind', '!=', 'reversal'),
            ],
        states={
            'readonly': _states['readonly'],
            'invisible': Eval('kind') != 'reversal',
            'required': Eval('kind') == 'reversal',
            },
        help="The transaction that this one takes back.")
    reversed_by = fields.Function(fields.Many2One(
            'prm.share.transaction', "Reversed by",
            states={
                'invisible': ~Eval('reversed_by'),
                },
            help="The transaction that takes this one back."),
        'get_reversed_by', searcher='search_reversed_by')
    reference = fields.Char(
        "Reference", states=_states,
        help="The number of the certificate, or of the transaction in a "
        "register kept elsewhere.")
    description = fields.Char(
        "Description", states=_states,
        help="The reason or the deed of the transaction.")
    state = fields.Selection([
            ('draft', "Draft"),
            ('posted', "Posted"),
            ], "State", readonly=True, required=True, sort=False)

    del _states, _derived

    @classmethod
    def __setup__(cls):
        cls.number.search_unaccented = False
        super().__setup__()
        table = cls.__table__()
        cls._sql_constraints += [
            ('quantity_positive', Check(table, table.quantity > 0),
                'prm.msg_share_transaction_quantity_positive'),
            ('reversal_of_unique', Unique(table, table.reversal_of),
                'prm.msg_share_transaction_reversed'),
            ]
        cls._sql_indexes.update({
                Index(table,
                    (table.share_class, Index.Equality()),
                    (table.date, Index.Range(order='DESC'))),
                Index(table, (table.party_from, Index.Equality())),
                Index(table, (table.party_to, Index.Equality())),
                Index(table,
                    (table.state, Index.Equality(cardinality='low')),
                    where=table.state == 'draft'),
                })
        cls._order.insert(0, ('date', 'DESC'))
        cls._transitions |= {('draft', 'posted')}
        cls._buttons.update({
                'post': {
                    'invisible': Eval('state') != 'draft',
                    'depends': ['state'],
                    },
                'reverse': {
                    'invisible': (
                        (Eval('state') != 'posted')
                        | (Eval('kind') == 'reversal')
                        | Bool(Eval('reversed_by'))),
                    'depends': ['state', 'kind', 'reversed_by'],
                    },
                })

    @classmethod
    def order_number(cls, tables):
        table, _ = tables[None]
        return [CharLength(table.number), table.number]

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @classmethod
    def default_date(cls):
        pool = Pool()
        Date = pool.get('ir.date')
        with Transaction().set_context(company=cls.default_company()):
            return Date.today()

    @classmethod
    def default_state(cls):
        return 'draft'

    @fields.depends('share_class')
    def on_change_with_numbered(self, name=None):
        return bool(self.share_class and self.share_class.numbered)

    @fields.depends('share_class')
    def on_change_with_currency(self, name=None):
        return self.share_class.currency if self.share_class else None

    @fields.depends('quantity', 'unit_price', 'currency')
    def on_change_with_amount(self, name=None):
        if self.quantity is None or self.unit_price is None:
            return None
        amount = self.quantity * self.unit_price
        if self.currency:
            amount = self.currency.round(amount)
        return amount

    @fields.depends('reversal_of', 'kind')
    def on_change_reversal_of(self):
        if self.kind == 'reversal' and self.reversal_of:
            for name, value in self.reversal_of._get_reversal().items():
                setattr(self, name, value)

    @classmethod
    def get_reversed_by(cls, transactions, name):
        result = dict.fromkeys(map(int, transactions))
        for reversal in cls.search([
                    ('reversal_of', 'in', [t.id for t in transactions]),
                    ('state', '=', 'posted'),
                    ], order=[]):
            result[reversal.reversal_of.id] = reversal.id
        return result

    @classmethod
    def search_reversed_by(cls, name, clause):
        nested = clause[0][len(name) + 1:]
        operator, value = clause[1:3]
        if not nested and value is None:
            table = cls.__table__()
            query = table.select(
                table.reversal_of,
                where=(table.reversal_of != Null)
                & (table.state == 'posted'))
            return [('id', 'not in' if operator == '=' else 'in', query)]
        if not nested:
            nested = 'rec_name' if isinstance(value, str) else 'id'
        reversals = cls.search([
                ('kind', '=', 'reversal'),
                ('state', '=', 'posted'),
                (nested, *clause[1:]),
                ], order=[])
        return [('id', 'in', [r.reversal_of.id for r in reversals])]

    @classmethod
    def _get_origin(cls):
        "Return the list of the names of the models that make transactions"
        return []

    @classmethod
    def get_origin(cls):
        pool = Pool()
        IrModel = pool.get('ir.model')
        get_name = IrModel.get_name
        return [(None, '')] + [
            (m, get_name(m)) for m in cls._get_origin()]

    def get_rec_name(self, name):
        return self.number or f'({self.id})'

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            ('/tree', 'visual', If(Eval('reversed_by'), 'muted', '')),
            ]

    @classmethod
    def copy(cls, transactions, default=None):
        default = default.copy() if default is not None else {}
        for name in ['number', 'origin', 'reference']:
            default.setdefault(name)
        return super().copy(transactions, default=default)

    @classmethod
    def check_modification(
            cls, mode, transactions, values=None, external=False):
        super().check_modification(
            mode, transactions, values=values, external=external)
        if mode in {'write', 'delete'}:
            for transaction in transactions:
                if transaction.state != 'draft':
                    raise ShareTransactionAccessError(
                        gettext(f'prm.msg_share_transaction_{mode}',
                            transaction=transaction.rec_name))

    @classmethod
    def legs_query(cls, where=None, numbers=False):
        """Return the SQL query of what each transaction adds to a holder

        The columns are id, transaction, company, share_class, party, date
        and quantity (negative when the holder gives).
        With numbers there is a row for each range of numbers, whose columns
        are from_number and to_number.
        The shares that the company holds itself are those of its own party.
        Only the posted transactions count unless where, a function of the
        table, tells others.
        """
        pool = Pool()
        Company = pool.get('company.company')
        Range = pool.get('prm.share.transaction.range')
        legs = []
        for index, giver in enumerate([True, False]):
            table = cls.__table__()
            range_ = Range.__table__()
            original = cls.__table__()
            company = Company.__table__()
            kind = Coalesce(original.kind, table.kind)
            reversal = original.id != Null
            if giver:
                party = Case((reversal, original.party_from),
                    else_=table.party_from)
                holder = Case(
                    (kind == 'issue', Null),
                    (kind == 'repurchase', party),
                    else_=Coalesce(party, company.party))
                sign = Case((reversal, 1), else_=-1)
            else:
                party = Case((reversal, original.party_to),
                    else_=table.party_to)
                holder = Case(
                    (kind == 'cancellation', Null),
                    (kind == 'issue', party),
                    else_=Coalesce(party, company.party))
                sign = Case((reversal, -1), else_=1)
            leg = (table
                .join(original, 'LEFT',
                    condition=table.reversal_of == original.id)
                .join(company, condition=table.company == company.id))
            columns = []
            if numbers:
                first = cls.__table__()
                ranges = Union(
                    first.select(
                        first.id.as_('transaction'),
                        first.from_number.as_('from_number'),
                        first.to_number.as_('to_number')),
                    range_.select(
                        range_.transaction.as_('transaction'),
                        range_.from_number.as_('from_number'),
                        range_.to_number.as_('to_number')),
                    all_=True)
                leg = leg.join(
                    ranges, condition=ranges.transaction == table.id)
                columns = [
                    ranges.from_number.as_('from_number'),
                    ranges.to_number.as_('to_number')]
            leg = leg.select(
                (table.id * 2 + index).as_('id'),
                table.id.as_('transaction'),
                table.company.as_('company'),
                table.share_class.as_('share_class'),
                holder.as_('party'),
                table.date.as_('date'),
                (table.quantity * sign).as_('quantity'),
                *columns,
                where=(
                    (holder != Null)
                    & (where(table) if where else table.state == 'posted')))
            legs.append(leg)
        return Union(*legs, all_=True)

    @classmethod
    def _reserved_queries(cls):
        """Return the SQL queries of the shares that may not leave a holder

        The columns are share_class, party, date (from which they are
        reserved), quantity and origin (the reference of what reserves them:
        the transactions that have it as origin may use the shares).
        The origin tells which numbers it reserves by its number_ranges.
        """
        return []

    @classmethod
    def check_holdings(cls, debits, transactions=()):
        """Raise ShareHoldingError if a holder has not what he should give

        debits is a list of tuples record, share class, holder, date and
        quantity; the record is a transaction or whatever reserves shares.
        The holdings are checked at every date, less what is reserved.
        The draft transactions given count as if they were posted.
        The share classes must have been claimed.
        """
        pool = Pool()
        Lang = pool.get('ir.lang')
        Party = pool.get('party.party')
        ShareClass = pool.get('prm.share.class')
        if not debits:
            return
        cursor = Transaction().connection.cursor()
        ids = [t.id for t in transactions]
        origins = list({str(t.origin) for t in transactions if t.origin})

        legs = cls.legs_query(where=lambda t: (
                (t.state == 'posted')
                | fields.SQL_OPERATORS['in'](t.id, ids)))
        queries = [legs.select(
                legs.share_class, legs.party, legs.date,
                legs.quantity, Literal(0).as_('reserved'))]
        for query in cls._reserved_queries():
            queries.append(query.select(
                    query.share_class, query.party, query.date,
                    Literal(0), query.quantity,
                    where=~fields.SQL_OPERATORS['in'](query.origin, origins)
                    if origins else None))
        union = Union(*queries, all_=True) if queries[1:] else queries[0]
        parties = list({party.id for _, _, party, _, _ in debits})
        classes = list({class_.id for _, class_, _, _, _ in debits})
        day = union.select(
            union.share_class, union.party, union.date,
            Sum(union.quantity).as_('quantity'),
            Sum(union.reserved).as_('reserved'),
            where=fields.SQL_OPERATORS['in'](union.share_class, classes)
            & fields.SQL_OPERATORS['in'](union.party, parties),
            group_by=[union.share_class, union.party, union.date])
        window = Window(
            [day.share_class, day.party], order_by=[day.date.asc])
        running = day.select(
            day.share_class, day.party, day.date,
            Sum(day.quantity, window=window).as_('quantity'),
            Sum(day.reserved, window=window).as_('reserved'))
        query = running.select(
            running.share_class, running.party, running.date.as_('date'),
            running.quantity, running.reserved,
            where=running.quantity < running.reserved,
            order_by=[running.date, running.party],
            limit=1)
        if backend.name == 'sqlite':
            sqlite_apply_types(query, [None, None, 'DATE', None, None])
        cursor.execute(*query)
        if not (row := cursor.fetchone()):
            return
        class_id, party_id, date, held, reserved = row
        record, *_, quantity = max((
                d for d in debits
                if (d[1].id, d[2].id) == (class_id, party_id)
                and d[3] <= date),
            key=lambda d: d[3])
        if isinstance(record, cls):
            held += quantity
        else:
            reserved -= quantity
        with Transaction().set_context(active_test=False):
            class_, party = ShareClass(class_id), Party(party_id)
        raise ShareHoldingError(gettext(
                'prm.msg_share_holding_reserved' if reserved
                else 'prm.msg_share_holding_short',
                record=record.rec_name,
                quantity=quantity,
                share_class=class_.rec_name,
                party=party.rec_name,
                date=Lang.get().strftime(date),
                held=max(held, 0),
                reserved=reserved))

    @classmethod
    def check_numbers(cls, debits, transactions=()):
        """Raise ShareNumberError if a holder has not the numbers of a debit

        debits is a list of tuples record, share class, holder (None if they
        are issued) and date; the record is a transaction or whatever reserves
        shares and tells its number_ranges.
        The numbers are checked at every date, less what is reserved.
        The draft transactions given count as if they were posted.
        The share classes must have been claimed.
        """
        pool = Pool()
        Lang = pool.get('ir.lang')
        debits = [
            (*debit, union(ranges)) for debit in debits
            if (ranges := debit[0].number_ranges)]
        if not debits:
            return
        claimed = defaultdict(list)
        for _, class_, _, _, ranges in debits:
            claimed[class_.id].extend(ranges)
        claimed = {c: union(r) for c, r in claimed.items()}
        legs = cls._get_number_legs(claimed, transactions)
        legs += cls._get_reserved_legs(
            claimed, {str(t.origin) for t in transactions if t.origin})
        legs.sort(key=lambda leg: leg[0])

        # What the holders have changes only at these numbers
        points = defaultdict(set)
        for class_id, ranges in claimed.items():
            points[class_id].update(first for first, _ in ranges)
        for _, class_id, _, _, first, last, _ in legs:
            points[class_id].update([first, last + 1])
        points = {
            c: [n for n in sorted(p) if contains(claimed[c], n)]
            for c, p in points.items()}
        held = defaultdict(int)
        reserved = defaultdict(set)
        for date, day in groupby(legs, key=lambda leg: leg[0]):
            changed = set()
            for _, class_id, party_id, sign, first, last, origin in day:
                numbers = points[class_id]
                for number in numbers[
                        bisect_left(numbers, first):
                        bisect_right(numbers, last)]:
                    key = class_id, number, party_id
                    changed.add(key)
                    if origin:
                        reserved[key].add(origin)
                        continue
                    held[key] += sign
                    key = class_id, number, None
                    changed.add(key)
                    held[key] += sign
            for key in sorted(changed, key=lambda k: (k[1], k[2] is None)):
                class_id, number, party_id = key
                if party_id and held[key] >= len(reserved[key]):
                    continue
                elif not party_id and held[key] <= 1:
                    continue
                blamed = [
                    d for d in debits
                    if d[1].id == class_id and d[3] <= date
                    and contains(d[4], number)
                    and (d[2] and d[2].id == party_id
                        if party_id else isinstance(d[0], cls))]
                if not blamed:
                    # The register was wrong before
                    continue
                record, class_, giver, *_ = max(
                    blamed, key=lambda d: d[3])
                message = (
                    'prm.msg_share_number' if isinstance(record, cls)
                    else 'prm.msg_buyback_number')
                others = sorted(
                    (o for o in reserved[key] if o != record), key=str)
                if not party_id:
                    message += '_exists'
                elif others and (
                        held[key] > 0
                        or held[key] == 0 and isinstance(record, cls)):
                    message += '_reserved'
                else:
                    message += '_not_held'
                raise ShareNumberError(gettext(message,
                        record=record.rec_name,
                        number=number,
                        share_class=class_.rec_name,
                        party=giver.rec_name if giver else '',
                        other=others[0].rec_name if others else '',
                        date=Lang.get().strftime(date)))

    @classmethod
    def _get_number_legs(cls, claimed, transactions):
        """Return what the transactions add to the holders of the numbers

        claimed are the ranges by share class.
        They are tuples of date, share class, party, sign, first and last
        number, and None.
        """
        cursor = Transaction().connection.cursor()
        ids = [t.id for t in transactions]
        legs = cls.legs_query(
            where=lambda t: (
                fields.SQL_OPERATORS['in'](t.share_class, list(claimed))
                & ((t.state == 'posted')
                    | fields.SQL_OPERATORS['in'](t.id, ids))),
            numbers=True)
        query = legs.select(
            legs.date.as_('date'), legs.share_class, legs.party,
            Sign(legs.quantity), legs.from_number, legs.to_number,
            where=(
                legs.from_number <= max(
                    r[-1][1] for r in claimed.values()))
            & (legs.to_number >= min(r[0][0] for r in claimed.values())))
        if backend.name == 'sqlite':
            sqlite_apply_types(
                query, ['DATE', None, None, None, None, None])
        cursor.execute(*query)
        return [(*row, None) for row in cursor]

    @classmethod
    def _get_reserved_legs(cls, claimed, origins):
        """Return the numbers that the holders may not give

        They are tuples like those of the transactions with a sign of 0 and
        what reserves them at the end; origins are not looked at.
        """
        pool = Pool()
        cursor = Transaction().connection.cursor()
        rows = []
        for query in cls._reserved_queries():
            query = query.select(
                query.date.as_('date'), query.share_class, query.party,
                query.origin,
                where=fields.SQL_OPERATORS['in'](
                    query.share_class, list(claimed)))
            if backend.name == 'sqlite':
                sqlite_apply_types(query, ['DATE', None, None, None])
            cursor.execute(*query)
            rows.extend(row for row in cursor if row[-1] not in origins)
        ids = defaultdict(list)
        for *_, origin in rows:
            name, id_ = origin.split(',')
            ids[name].append(int(id_))
        records = {
            str(r): r for name, sub_ids in ids.items()
            for r in pool.get(name).browse(sub_ids)}
        return [
            (date, class_, party, 0, first, last, records[origin])
            for date, class_, party, origin in rows
            for first, last in records[origin].number_ranges]

    @property
    def holders(self):
        """The holder who gives and the holder who receives

        None is for nobody: the shares of an issue come from nobody and those
        of a cancellation go to nobody.
        """
        company = self.company.party
        if self.kind == 'reversal':
            giver, receiver = self.reversal_of.holders
            return receiver, giver
        elif self.kind == 'issue':
            return None, self.party_to
        elif self.kind == 'cancellation':
            return self.party_from or company, None
        return self.party_from or company, self.party_to or company

    def _get_reversal(self, origin=True):
        "Return the values of the transaction that takes this one back"
        values = {
            'company': self.company,
            'share_class': self.share_class,
            'quantity': self.quantity,
            'party_from': self.party_to,
            'party_to': self.party_from,
            'unit_price': self.unit_price,
            'from_number': self.from_number,
            'to_number': self.to_number,
            }
        if origin:
            values['origin'] = self.origin
            if self.numbered:
                Range = Pool().get('prm.share.transaction.range')
                values['ranges'] = [
                    Range(from_number=r.from_number, to_number=r.to_number)
                    for r in self.ranges]
        return values

    def check_post(self):
        "Raise ShareTransactionError if the transaction can not be posted"
        Lang = Pool().get('ir.lang')
        giver, receiver = self.holders
        if giver == receiver:
            raise ShareTransactionError(
                gettext('prm.msg_share_transaction_same_holder',
                    transaction=self.rec_name,
                    party=giver.rec_name))
        if self.kind == 'reversal':
            original = self.reversal_of
            if original.kind == 'reversal' or original.state != 'posted':
                raise ShareTransactionError(
                    gettext('prm.msg_share_transaction_reversal_original',
                        transaction=self.rec_name,
                        original=original.rec_name))
            # The origin is not compared as each would be searched
            if (sorted(self.number_ranges) != sorted(original.number_ranges)
                    or any(getattr(self, name) != value
                        for name, value in original._get_reversal(
                            origin=False).items())):
                raise ShareTransactionError(
                    gettext('prm.msg_share_transaction_reversal_differs',
                        transaction=self.rec_name,
                        original=original.rec_name))
            if self.date < original.date:
                raise ShareTransactionError(
                    gettext('prm.msg_share_transaction_reversal_date',
                        transaction=self.rec_name,
                        original=original.rec_name,
                        date=Lang.get().strftime(original.date)))
        self.check_ranges('prm.msg_share_number')

    @classmethod
    def set_number(cls, transactions):
        "Number the transactions of each company by date"
        pool = Pool()
        Configuration = pool.get('prm.configuration')
        configuration = Configuration(1)
        table = cls.__table__()
        cursor = Transaction().connection.cursor()
        transactions = sorted(
            transactions, key=lambda t: (t.company.id, t.date, t.id))
        for company, c_transactions in groupby(
                transactions, key=lambda t: t.company):
            c_transactions = list(c_transactions)
            with Transaction().set_context(company=company.id):
                sequence = configuration.get_multivalue(
                    'share_transaction_sequence', company=company.id)
                numbers = list(sequence.get_many(len(c_transactions)))
            # One update for all as each has its own number, the write of the
            # state that follows clears the caches
            for sub in grouped_slice(
                    list(zip(c_transactions, numbers)), 1000):
                sub = list(sub)
                cursor.execute(*table.update(
                        [table.number],
                        [Case(*((table.id == t.id, n) for t, n in sub))],
                        where=fields.SQL_OPERATORS['in'](
                            table.id, [t.id for t, _ in sub])))

    @classmethod
    @ModelView.button
    @Workflow.transition('posted')
    def post(cls, transactions):
        """Write the transactions for ever in the register

        Raise ShareHoldingError if a holder would give more than he has at
        any date, ShareNumberError if he would give other numbers.
        """
        pool = Pool()
        ShareClass = pool.get('prm.share.class')
        if not transactions:
            return
        ShareClass.claim([t.share_class for t in transactions])
        debits = []
        for transaction in transactions:
            transaction.check_post()
            giver, _ = transaction.holders
            debits.append((
                    transaction, transaction.share_class, giver,
                    transaction.date, transaction.quantity))
        cls.check_holdings([d for d in debits if d[2]], transactions)
        cls.check_numbers([d[:4] for d in debits], transactions)
        cls.set_number(transactions)

    @classmethod
    @ModelView.button_action('prm.wizard_share_transaction_reverse')
    def reverse(cls, transactions):
        pass

    @classmethod
    def create_reversals(cls, transactions, date, description=None):
        """Return the posted transactions that take these ones back on date

        Raise ShareHoldingError if the holder has not the shares any more.
        """
        reversals = []
        for transaction in transactions:
            if transaction.reversed_by:
                raise ShareTransactionError(
                    gettext('prm.msg_share_transaction_reversed_by',
                        transaction=transaction.rec_name,
                        reversal=transaction.reversed_by.rec_name))
            reversals.append(cls(
                    kind='reversal',
                    date=date,
                    reversal_of=transaction,
                    description=description,
                    **transaction._get_reversal()))
        cls.save(reversals)
        cls.post(reversals)
        return reversals


class ShareTransactionReverse(Wizard):
    __name__ = 'prm.share.transaction.reverse'
    __string__ = "Reverse Share Transaction"

    start = StateView(
        'prm.share.transaction.reverse.start',
        'prm.share_transaction_reverse_start_view_form', [
            Button("Cancel", 'end', 'tryton-cancel'),
            Button("Reverse", 'reverse', 'tryton-ok', default=True),
            ])
    reverse = StateTransition()

    def transition_reverse(self):
        self.model.create_reversals(
            self.records, self.start.date, self.start.description)
        return 'end'

    def end(self):
        return 'reload'


class ShareTransactionReverseStart(ModelView):
    __name__ = 'prm.share.transaction.reverse.start'
    __string__ = "Reverse Share Transaction"

    date = fields.Date(
        "Date", required=True,
        help="The date from which the shares are back.")
    description = fields.Char(
        "Reason", required=True,
        help="Why the transaction is taken back.")

    @classmethod
    def default_date(cls):
        return Pool().get('ir.date').today()


class ShareHolding(ModelSQL, ModelView):
    __name__ = 'prm.share.holding'
    __string__ = "Share Holding"

    company = fields.Many2One('company.company', "Company", readonly=True)
    party = fields.Many2One(
        'party.party', "Holder", readonly=True,
        context={
            'company': Eval('company', -1),
            },
        depends={'company'},
        help="The associate, or the company for the shares that it holds "
        "itself.")
    share_class = fields.Many2One(
        'prm.share.class', "Share Class", readonly=True)
    quantity = fields.Integer("Quantity", readonly=True)
    numbers = fields.Function(fields.Char(
            "Numbers", help="The numbers of the shares."),
        'get_numbers')
    percentage = fields.Numeric(
        "Capital", digits=(1, 6), readonly=True,
        help="The part of the capital that the shares represent.")
    votes = fields.Integer(
        "Votes", readonly=True,
        help="The shares that the company holds itself do not vote.")
    votes_percentage = fields.Numeric(
        "Voting Rights", digits=(1, 6), readonly=True,
        help="The part of the votes of the shares.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._order = [
            ('company', 'ASC'),
            ('quantity', 'DESC'),
            ('id', None),
            ]

    @classmethod
    def table_query(cls):
        pool = Pool()
        Company = pool.get('company.company')
        Date = pool.get('ir.date')
        ShareClass = pool.get('prm.share.class')
        ShareTransaction = pool.get('prm.share.transaction')
        date = Transaction().context.get('date') or Date.today()

        legs = ShareTransaction.legs_query(
            where=lambda t: (t.state == 'posted') & (t.date <= date))
        held = legs.select(
            Min(legs.id).as_('id'),
            legs.company, legs.share_class, legs.party,
            Sum(legs.quantity).as_('quantity'),
            group_by=[legs.company, legs.share_class, legs.party],
            having=Sum(legs.quantity) != 0)
        class_ = ShareClass.__table__()
        company = Company.__table__()
        # Without any par value, all the shares are the same part
        nominal = Coalesce(class_.nominal_value, 0)
        votes = Case(
            (held.party == company.party, 0),
            else_=held.quantity * class_.votes)
        window = Window([held.company])
        capital = Sum(held.quantity * nominal, window=window)

        # SQLite divides integers as integers even when cast to NUMERIC
        type_ = 'REAL' if backend.name == 'sqlite' else 'NUMERIC'

        def ratio(part, total):
            return Round(
                Cast(part, type_) / NullIf(Cast(total, type_), 0), 6)

        return (held
            .join(class_, condition=held.share_class == class_.id)
            .join(company, condition=held.company == company.id)
            .select(
                held.id.as_('id'),
                held.company.as_('company'),
                held.party.as_('party'),
                held.share_class.as_('share_class'),
                held.quantity.as_('quantity'),
                Case(
                    (capital != 0, ratio(held.quantity * nominal, capital)),
                    else_=ratio(
                        held.quantity,
                        Sum(held.quantity, window=window))).as_('percentage'),
                votes.as_('votes'),
                Coalesce(
                    ratio(votes, Sum(votes, window=window)),
                    0).as_('votes_percentage')))

    def get_rec_name(self, name):
        return f'{self.party.rec_name} ({self.share_class.rec_name})'

    @classmethod
    def get_numbers(cls, holdings, name):
        pool = Pool()
        Date = pool.get('ir.date')
        ShareClass = pool.get('prm.share.class')
        date = Transaction().context.get('date') or Date.today()
        classes = {h.share_class for h in holdings}
        held = ShareClass.get_held_numbers(
            [c for c in classes if c.numbered], date)
        return {
            h.id: as_text(held[h.share_class.id, h.party.id])
            for h in holdings}


class ShareHoldingContext(ModelView):
    __name__ = 'prm.share.holding.context'
    __string__ = "Share Holding Context"

    date = fields.Date("Date", help="The date of the holdings.")

    @classmethod
    def default_date(cls):
        return Transaction().context.get('date') or (
            Pool().get('ir.date').today())
