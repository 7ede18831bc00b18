# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from decimal import Decimal
from itertools import groupby

from sql import Cast, Literal, Null
from sql.aggregate import Max, Min, Sum
from sql.conditionals import Case, Coalesce
from sql.operators import Equal

from trytond import backend
from trytond.i18n import gettext
from trytond.model import Exclude, Index, ModelSQL, ModelView, fields
from trytond.model.exceptions import AccessError
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool
from trytond.pyson import Bool, Eval, If
from trytond.tools import sqlite_apply_types
from trytond.transaction import Transaction, without_check_access

from ..model import AmountsMixin, ReadonlyMixin, get_parents
from ..tools import sql_sum
from .allocation import allocation_query


class Ledger:
    "What the ledger says about an instalment"
    __slots__ = (
        'posted', 'moved', 'paid', 'waived', 'processing', 'date',
        'due_date', 'principal_date', 'natures', 'open', 'blocked')

    def __init__(self, zero):
        self.posted = self.moved = self.paid = self.waived = zero
        self.processing = zero
        self.date = self.due_date = self.principal_date = None
        self.natures = set()
        self.open = self.blocked = False

    @property
    def rest(self):
        "What is owed and neither paid nor waived"
        return self.posted - self.moved - self.paid - self.waived

    def get_remaining(self, instalment):
        "Return what is owed with the interest that is not posted yet"
        return self.rest + sum(
            getattr(instalment, nature) or 0
            for nature in ['principal', 'interest']
            if nature not in self.natures)

    def is_settled(self, instalment):
        return not self.open and not self.rest and all(
            not getattr(instalment, nature) or nature in self.natures
            for nature in ['principal', 'interest'])


class Instalment(ModelSQL, ModelView):
    __name__ = 'prm.buyback.instalment'
    __string__ = "Buyback Instalment"

    _states = {
        'readonly': ~Eval('buyback_state').in_(['draft', 'announced']),
        }

    buyback = fields.Many2One(
        'prm.buyback', "Buyback", required=True, ondelete='CASCADE',
        states={
            'readonly': _states['readonly'] & Bool(Eval('buyback')),
            })
    sequence = fields.Integer("Sequence", states=_states)
    kind = fields.Selection([
            ('advance', "Advance"),
            ('instalment', "Instalment"),
            ('balance', "Balance"),
            ('earn_out', "Earn-out"),
            ('current_account', "Current Account"),
            ], "Kind", required=True, sort=False, states=_states)
    kind_string = kind.translated('kind')
    due_date = fields.Date("Due Date", required=True, states=_states)
    principal = Monetary(
        "Principal", currency='currency', digits='currency', required=True,
        domain=[
            ('principal', '>=', 0),
            ],
        states=_states)
    interest = Monetary(
        "Interest", currency='currency', digits='currency', required=True,
        domain=[
            ('interest', '>=', 0),
            ],
        states=_states)
    amount = fields.Function(Monetary(
            "Amount", currency='currency', digits='currency'),
        'on_change_with_amount')
    late_interest = fields.Function(Monetary(
            "Late Interest", currency='currency', digits='currency',
            states={
                'invisible': ~Eval('late_interest', 0),
                },
            help="What is charged since the due date is over."),
        'get_late_interest')
    maturity_date = fields.Function(fields.Date(
            "Maturity Date",
            help="The date at which what is open is due.\n"
            "It is not the due date once the lines were rescheduled."),
        'get_maturity_date', searcher='search_maturity_date')
    outstanding_after = Monetary(
        "Outstanding", currency='currency', digits='currency', readonly=True,
        help="The principal that remains after this instalment.")
    lines = fields.One2Many(
        'prm.buyback.instalment.line', 'instalment', "Lines", readonly=True)
    line = fields.Function(fields.Many2One(
            'account.move.line', "Principal Line"),
        'get_lines', searcher='search_line')
    interest_line = fields.Function(fields.Many2One(
            'account.move.line', "Interest Line"),
        'get_lines', searcher='search_line')
    confirmed_date = fields.Date(
        "Confirmed on",
        states={
            'readonly': (
                (Eval('_parent_buyback', {}).get('route') != 'third_party')
                | ~Eval('buyback_state').in_(['running', 'paid'])),
            },
        help="The date on which the third party paid the associate.")
    fixed_date = fields.Date(
        "Fixed on", readonly=True,
        states={
            'invisible': Eval('kind') != 'earn_out',
            },
        help="The date at which the amount of the earn-out became known.")
    paid_amount = fields.Function(Monetary(
            "Paid Amount", currency='currency', digits='currency'),
        'get_payments')
    paid_date = fields.Function(fields.Date(
            "Paid Date",
            help="The date of the last payment of a settled instalment."),
        'get_payments')
    state = fields.Function(fields.Selection([
                ('pending', "Pending"),
                ('blocked', "Blocked"),
                ('due', "Due"),
                ('overdue', "Overdue"),
                ('processing', "Processing"),
                ('partly_paid', "Partly Paid"),
                ('paid', "Paid"),
                ('waived', "Waived"),
                ], "State", sort=False),
        'get_payments')
    open = fields.Function(
        fields.Boolean("Open"), 'get_open', searcher='search_open')
    currency = fields.Function(fields.Many2One(
            'currency.currency', "Currency"),
        'on_change_with_currency')
    company = fields.Function(fields.Many2One(
            'company.company', "Company"),
        'on_change_with_company', searcher='search_buyback_field')
    party = fields.Function(fields.Many2One(
            'party.party', "Associate",
            context={
                'company': Eval('company', -1),
                },
            depends={'company'}),
        'on_change_with_party', searcher='search_buyback_field')
    buyback_state = fields.Function(fields.Selection(
            'get_buyback_states', "Buyback State"),
        'on_change_with_buyback_state', searcher='search_buyback_state')

    del _states

    @classmethod
    def __setup__(cls):
        super().__setup__()
        table = cls.__table__()
        cls.__access__.add('buyback')
        cls._order = [
            ('due_date', 'ASC'), ('sequence', 'ASC'), ('id', 'ASC')]
        cls._sql_indexes.add(
            Index(table, (table.due_date, Index.Range())))

    @classmethod
    def default_kind(cls):
        return 'instalment'

    @classmethod
    def default_interest(cls):
        return Decimal(0)

    @property
    def in_price(self):
        "Whether the principal is a part of the price"
        return self.kind not in {'earn_out', 'current_account'}

    @property
    def unknown(self):
        "Whether its amount is still to be fixed"
        return (
            self.kind == 'earn_out'
            and not self.amount
            and not self.fixed_date)

    @fields.depends('principal', 'interest')
    def on_change_with_amount(self, name=None):
        return (self.principal or Decimal(0)) + (self.interest or Decimal(0))

    @fields.depends('buyback', '_parent_buyback.currency')
    def on_change_with_currency(self, name=None):
        return self.buyback.currency if self.buyback else None

    @fields.depends('buyback', '_parent_buyback.company')
    def on_change_with_company(self, name=None):
        return self.buyback.company if self.buyback else None

    @fields.depends('buyback', '_parent_buyback.party')
    def on_change_with_party(self, name=None):
        return self.buyback.party if self.buyback else None

    @classmethod
    def get_buyback_states(cls):
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        return Buyback.fields_get(['state'])['state']['selection']

    @fields.depends('buyback', '_parent_buyback.state')
    def on_change_with_buyback_state(self, name=None):
        return self.buyback.state if self.buyback else None

    @classmethod
    def search_buyback_field(cls, name, clause):
        return [(f'buyback.{clause[0]}', *clause[1:])]

    @classmethod
    def search_buyback_state(cls, name, clause):
        return [('buyback.state', *clause[1:])]

    @classmethod
    def get_open(cls, instalments, name):
        open_ = {
            i.id for i in cls.search([
                    ('id', 'in', [i.id for i in instalments]),
                    ('open', '=', True),
                    ], order=[])}
        return {i.id: i.id in open_ for i in instalments}

    @classmethod
    def search_open(cls, name, clause):
        _, operator, value = clause
        if operator in {'in', 'not in'}:
            value = value and True in value and False not in value
            operator = '=' if operator == 'in' else '!='
        if (operator == '=') == bool(value):
            return [
                ('buyback.state', '=', 'running'),
                ['OR',
                    [
                        ('buyback.route', '=', 'third_party'),
                        ('confirmed_date', '=', None),
                    ],
                    [
                        ('buyback.route', '!=', 'third_party'),
                        ('interest', '>', 0),
                        ('lines', 'not where', [('nature', '=', 'interest')]),
                    ],
                    ('lines.line.reconciliation', '=', None),
                    ],
                ]
        return ['OR',
            ('buyback.state', '!=', 'running'),
            [
                ['OR',
                    ('buyback.route', '!=', 'third_party'),
                    ('confirmed_date', '!=', None),
                    ],
                ['OR',
                    ('buyback.route', '=', 'third_party'),
                    ('interest', '=', 0),
                    ('lines', 'where', [('nature', '=', 'interest')]),
                    ],
                ('lines', 'not where', [('line.reconciliation', '=', None)]),
                ],
            ]

    @classmethod
    def _maturities(cls):
        "Return the SQL query of the date at which what is open is due"
        pool = Pool()
        Line = pool.get('account.move.line')
        Portion = pool.get('prm.buyback.instalment.line')
        table = cls.__table__()
        portion = Portion.__table__()
        line = Line.__table__()
        open_ = (portion
            .join(line, condition=portion.line == line.id)
            .select(
                portion.instalment.as_('instalment'),
                Min(line.maturity_date).as_('date'),
                where=line.reconciliation == Null,
                group_by=[portion.instalment]))
        return (table
            .join(open_, 'LEFT', condition=open_.instalment == table.id)
            .select(
                table.id.as_('id'),
                Coalesce(open_.date, table.due_date).as_('date')))

    @classmethod
    def get_maturity_date(cls, instalments, name):
        cursor = Transaction().connection.cursor()
        query = cls._maturities()
        query.where = fields.SQL_OPERATORS['in'](
            query.columns[0].expression, [i.id for i in instalments])
        if backend.name == 'sqlite':
            sqlite_apply_types(query, [None, 'DATE'])
        cursor.execute(*query)
        return dict(cursor)

    @classmethod
    def search_maturity_date(cls, name, clause):
        _, operator, value = clause
        Operator = fields.SQL_OPERATORS[operator]
        query = cls._maturities()
        return [('id', 'in', query.select(
                    query.id,
                    where=Operator(
                        query.date, cls.due_date.sql_format(value))))]

    @classmethod
    def order_maturity_date(cls, tables):
        table, _ = tables[None]
        query = cls._maturities()
        return [query.select(query.date, where=query.id == table.id)]

    @classmethod
    def get_late_interest(cls, instalments, name):
        return {
            i.id: sum(
                (l.amount for l in i.lines if l.nature == 'late_interest'),
                Decimal(0))
            for i in instalments}

    @classmethod
    def get_lines(cls, instalments, names):
        natures = {'line': 'principal', 'interest_line': 'interest'}
        result = {
            name: dict.fromkeys(map(int, instalments)) for name in names}
        for instalment in instalments:
            portions = instalment.lines
            if instalment.kind == 'earn_out':
                # The last time that its amount was fixed counts
                moves = {
                    m.move for m in instalment.buyback.moves
                    if m.kind in {'recognition', 'earn_out'}}
                portions = [
                    p for p in portions if p.line.move in moves][-1:]
            for portion in reversed(portions):
                for name in names:
                    if portion.nature == natures[name]:
                        result[name][instalment.id] = portion.line.id
        return result

    @classmethod
    def search_line(cls, name, clause):
        nature = {'line': 'principal', 'interest_line': 'interest'}[name]
        nested = clause[0][len(name):]
        if (not nested and clause[2] is None
                and clause[1] in {'=', '!='}):
            operator = 'not where' if clause[1] == '=' else 'where'
            return [('lines', operator, [('nature', '=', nature)])]
        return [('lines', 'where', [
                    ('nature', '=', nature),
                    (f'line{nested}', *clause[1:]),
                    ])]

    @classmethod
    def get_ledgers(cls, buybacks):
        "Return what the ledger says, by id of the instalments with lines"
        ledgers = {}
        if not buybacks:
            return ledgers
        currencies = {i.id: b.currency for b in buybacks
            for i in b.instalments}

        def get_ledger(id_):
            currency = currencies[id_]
            if id_ not in ledgers:
                ledgers[id_] = Ledger(currency.round(Decimal(0)))
            return ledgers[id_], lambda a: currency.round(Decimal(str(a)))

        cls._fill_dues(buybacks, get_ledger)
        cls._fill_allocations(buybacks, get_ledger)
        cls._fill_processing(buybacks, get_ledger)
        cls._fill_confirmed(buybacks, get_ledger)
        return ledgers

    @classmethod
    def _fill_confirmed(cls, buybacks, get_ledger):
        "Add what is paid between third parties"
        for buyback in buybacks:
            if buyback.route != 'third_party':
                continue
            for instalment in buyback.instalments:
                ledger, round_ = get_ledger(instalment.id)
                ledger.posted = round_(instalment.amount)
                ledger.natures.update(['principal', 'interest'])
                ledger.open = bool(
                    instalment.amount and not instalment.confirmed_date)
                if buyback.state == 'terminated' and ledger.open:
                    ledger.open = False
                    ledger.waived = ledger.posted
                if instalment.confirmed_date:
                    ledger.paid = ledger.posted
                    ledger.date = instalment.confirmed_date

    @classmethod
    def _fill_dues(cls, buybacks, get_ledger):
        pool = Pool()
        Portion = pool.get('prm.buyback.instalment.line')
        Line = pool.get('account.move.line')
        cursor = Transaction().connection.cursor()
        table = cls.__table__()
        portion = Portion.__table__()
        line = Line.__table__()
        blocked = Literal(0)
        if hasattr(Line, 'payment_blocked'):
            blocked = Case((line.payment_blocked, 1), else_=0)
        open_ = line.reconciliation == Null
        query = (table
            .join(portion, condition=portion.instalment == table.id)
            .join(line, condition=portion.line == line.id)
            .select(
                table.id.as_('id'),
                portion.nature.as_('nature'),
                Sum(portion.amount).as_('amount'),
                Max(Case((open_, 1), else_=0)).as_('open'),
                Max(Case((open_, blocked), else_=0)).as_('blocked'),
                Min(Case((open_, line.maturity_date), else_=Null)
                    ).as_('date'),
                where=fields.SQL_OPERATORS['in'](
                    table.buyback, [b.id for b in buybacks]),
                group_by=[table.id, portion.nature]))
        if backend.name == 'sqlite':
            sqlite_apply_types(
                query, [None, None, 'NUMERIC', None, None, 'DATE'])
        cursor.execute(*query)
        for id_, nature, amount, open_, blocked, date in cursor:
            ledger, round_ = get_ledger(id_)
            ledger.posted += round_(amount)
            ledger.natures.add(nature)
            ledger.open |= bool(open_)
            ledger.blocked |= bool(blocked)
            if date:
                ledger.due_date = min(ledger.due_date or date, date)
                if nature == 'principal':
                    ledger.principal_date = date

    @classmethod
    def _fill_allocations(cls, buybacks, get_ledger):
        cursor = Transaction().connection.cursor()
        query = allocation_query(buybacks)
        query = query.select(
            query.instalment.as_('instalment'),
            query.category.as_('category'),
            Sum(query.amount).as_('amount'),
            Max(Case((query.amount > 0, query.date), else_=Null)
                ).as_('date'),
            where=fields.SQL_OPERATORS['in'](
                query.buyback, [b.id for b in buybacks]),
            group_by=[query.instalment, query.category])
        if backend.name == 'sqlite':
            sqlite_apply_types(query, [None, None, 'NUMERIC', 'DATE'])
        cursor.execute(*query)
        for id_, category, amount, date in cursor:
            ledger, round_ = get_ledger(id_)
            amount = round_(amount)
            if category == 'payment':
                ledger.paid += amount
                if amount:
                    ledger.date = date
            elif category == 'waiver':
                ledger.waived += amount
            else:
                ledger.moved += amount

    @classmethod
    def _fill_processing(cls, buybacks, get_ledger):
        "Add what is on its way to be paid"

    @classmethod
    def get_payments(cls, instalments, names):
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        Date = pool.get('ir.date')
        ids = list(map(int, instalments))
        result = {name: dict.fromkeys(ids) for name in names}
        ledgers = cls.get_ledgers(Buyback.browse(list({
                        i.buyback for i in instalments
                        if i.buyback.owed})))
        for company, c_instalments in groupby(
                instalments, key=lambda i: i.buyback.company):
            with Transaction().set_context(company=company.id):
                today = Date.today()
            for instalment in c_instalments:
                ledger = ledgers.get(instalment.id)
                if not ledger:
                    ledger = Ledger(
                        instalment.buyback.currency.round(Decimal(0)))
                values = {
                    'paid_amount': ledger.paid,
                    'state': instalment._get_state(ledger, today),
                    'paid_date': None,
                    }
                if values['state'] == 'paid':
                    values['paid_date'] = ledger.date
                for name in names:
                    result[name][instalment.id] = values[name]
        return result

    def _get_state(self, ledger, today):
        buyback = self.buyback
        due_date = ledger.due_date or self.due_date
        if not buyback.owed:
            return 'pending'
        elif buyback.state == 'terminated':
            if self.unknown:
                return 'waived'
            return 'paid' if ledger.paid >= self.amount else 'waived'
        elif not self.amount and ledger.posted == ledger.moved:
            if self.unknown:
                return 'pending'
            return 'paid' if due_date <= today else 'pending'
        elif ledger.is_settled(self):
            return 'paid' if ledger.paid or not ledger.waived else 'waived'
        elif ledger.processing:
            return 'processing'
        elif ledger.paid:
            return 'partly_paid'
        elif ledger.blocked or (
                buyback.route == 'capital_reduction'
                and buyback.opposition_end
                and today <= buyback.opposition_end):
            return 'blocked'
        elif due_date > today:
            return 'pending'
        elif due_date < today:
            return 'overdue'
        else:
            return 'due'

    @classmethod
    def read(cls, ids, fields_names):
        # The accountants see the name as origin of the entries that they may
        # read, which show the party anyway, but nothing else
        if set(fields_names) <= {'id', 'rec_name'} and cls._is_origin(ids):
            with without_check_access():
                return super().read(ids, fields_names)
        return super().read(ids, fields_names)

    @classmethod
    def _is_origin(cls, ids):
        "Test if the user may read an entry of the buyback of each"
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        if not Transaction().check_access:
            return False
        with without_check_access():
            buybacks = {i.buyback.id for i in cls.browse(ids)}
        return Buyback._is_origin(buybacks)

    def get_rec_name(self, name):
        items = [self.buyback.rec_name]
        if self.sequence is not None:
            items.append(str(self.sequence))
        return ' / '.join(items)

    @classmethod
    def search_rec_name(cls, name, clause):
        return [('buyback.rec_name', *clause[1:])]

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            ('/tree', 'visual',
                If(Eval('state') == 'overdue', 'danger',
                    If(Eval('state').in_(['due', 'partly_paid']), 'warning',
                        If(Eval('state') == 'paid', 'success',
                            If(Eval('state').in_(['waived', 'blocked']),
                                'muted', ''))))),
            ]

    @classmethod
    def check_modification(
            cls, mode, instalments, values=None, external=False):
        super().check_modification(
            mode, instalments, values=values, external=external)
        if Transaction().context.get('_buyback_amendment'):
            return
        confirm = mode == 'write' and values.keys() == {'confirmed_date'}
        for buyback in get_parents('buyback', instalments, values):
            if (confirm
                    and buyback.route == 'third_party'
                    and buyback.state in {'running', 'paid'}):
                continue
            if buyback.state not in {'draft', 'announced'}:
                raise AccessError(
                    gettext('prm.msg_buyback_modify',
                        **buyback.__names__('instalments', buyback)))

    @classmethod
    def on_modification(cls, mode, instalments, field_names=None):
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        super().on_modification(mode, instalments, field_names=field_names)
        if mode == 'write' and 'confirmed_date' in (field_names or ()):
            Buyback.__queue__.process(
                list({i.buyback for i in instalments}))

    @classmethod
    def copy(cls, instalments, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('lines')
        default.setdefault('confirmed_date')
        default.setdefault('fixed_date')
        return super().copy(instalments, default=default)


class InstalmentLine(ReadonlyMixin, ModelSQL):
    __name__ = 'prm.buyback.instalment.line'
    __string__ = "Buyback Instalment Line"

    instalment = fields.Many2One(
        'prm.buyback.instalment', "Instalment", required=True,
        ondelete='CASCADE')
    line = fields.Many2One(
        'account.move.line', "Line", required=True, ondelete='RESTRICT')
    nature = fields.Selection([
            ('principal', "Principal"),
            ('interest', "Interest"),
            ('late_interest', "Late Interest"),
            ], "Nature", required=True, sort=False)
    amount = Monetary(
        "Amount", currency='currency', digits='currency', required=True)
    interest_date = fields.Date(
        "Interest Date",
        help="The date until which the line charges the interest.")
    currency = fields.Function(fields.Many2One(
            'currency.currency', "Currency"),
        'on_change_with_currency')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        table = cls.__table__()
        cls.__access__.add('instalment')
        cls._order = [('id', 'ASC')]
        cls._sql_constraints += [
            ('interest_unique',
                Exclude(table,
                    (table.instalment, Equal),
                    (table.nature, Equal),
                    (table.interest_date, Equal),
                    where=table.interest_date != Null),
                'prm.msg_buyback_interest_unique'),
            ]

    @fields.depends('instalment', '_parent_instalment.currency')
    def on_change_with_currency(self, name=None):
        return self.instalment.currency if self.instalment else None


class BuybackPayment(AmountsMixin, ModelSQL, ModelView):
    __name__ = 'prm.buyback.payment'
    __string__ = "Buyback Payment"

    company = fields.Many2One('company.company', "Company")
    buyback = fields.Many2One('prm.buyback', "Buyback")
    instalment = fields.Many2One('prm.buyback.instalment', "Instalment")
    line = fields.Many2One('account.move.line', "Line")
    date = fields.Date("Date")
    principal = Monetary(
        "Principal", currency='currency', digits='currency')
    interest = Monetary(
        "Interest", currency='currency', digits='currency')
    amount = Monetary("Amount", currency='currency', digits='currency')
    currency = fields.Function(fields.Many2One(
            'currency.currency', "Currency"),
        'on_change_with_currency')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._order = [('date', 'DESC'), ('id', 'DESC')]

    @fields.depends('company')
    def on_change_with_currency(self, name=None):
        return self.company.currency if self.company else None

    @classmethod
    def table_query(cls):
        query = allocation_query()
        principal = Case(
            (query.nature == 'principal', query.company_amount), else_=0)
        interest = Case(
            (query.nature != 'principal', query.company_amount), else_=0)
        return query.select(
            (Cast(query.line, 'BIGINT') * 1000000
                + query.instalment % 1000000).as_('id'),
            query.company.as_('company'),
            query.buyback.as_('buyback'),
            query.instalment.as_('instalment'),
            query.line.as_('line'),
            query.date.as_('date'),
            cls.principal.sql_cast(sql_sum(principal)).as_('principal'),
            cls.interest.sql_cast(sql_sum(interest)).as_('interest'),
            cls.amount.sql_cast(
                sql_sum(query.company_amount)).as_('amount'),
            where=query.posted & (query.category == 'payment'),
            group_by=[
                query.company, query.buyback, query.instalment, query.line,
                query.date])
