# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from collections import defaultdict
from decimal import Decimal
from itertools import chain, groupby

from sql import Literal, Union
from sql.conditionals import Case
from sql.functions import CharLength

from trytond.i18n import gettext
from trytond.model import (
    ChatMixin, Index, ModelSQL, ModelView, Unique, Workflow, fields)
from trytond.model.exceptions import AccessError
from trytond.modules.account.exceptions import PeriodNotFoundError
from trytond.modules.company.model import (
    employee_field, reset_employee, set_employee)
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool
from trytond.pyson import Bool, Eval, Id, If
from trytond.tools import grouped_slice
from trytond.transaction import Transaction, check_access, without_check_access

from ..model import ReadonlyMixin, WorkflowAccessMixin
from ..tools import spread, sql_reference, sql_sum
from .exceptions import (
    ConcessionCancelError, ConcessionGrantError, ConcessionProductMissingError,
    ConcessionSimilarWarning, ConcessionValidationError)

_SIZE = 1000  # records of one statement


class Concession(
        WorkflowAccessMixin, Workflow, ModelSQL, ModelView, ChatMixin):
    __name__ = 'prm.concession'
    __string__ = "Commercial Gesture"
    _rec_name = 'number'

    _states = {
        'readonly': Eval('state') != 'draft',
        }

    number = fields.Char("Number", readonly=True)
    company = fields.Many2One(
        'company.company', "Company", required=True,
        states={
            'readonly': (
                _states['readonly']
                | Eval('party', True)
                | Eval('invoice', True)),
            })
    party = fields.Many2One(
        'party.party', "Party", required=True,
        states={
            'readonly': _states['readonly'] | Eval('invoice', True),
            },
        context={
            'company': Eval('company', -1),
            },
        depends={'company'},
        help="The customer who receives the gesture.")
    partner = fields.Many2One(
        'prm.partner', "Partner", ondelete='RESTRICT',
        domain=[
            ('company', '=', Eval('company', -1)),
            # Only filters the choice on a new gesture: check_party checks
            # all the gestures at once.
            If((Eval('id', -1) < 0) & Bool(Eval('party')),
                ('party', '=', Eval('party', -1)),
                ()),
            ],
        states=_states,
        help="The partner that the customer is at the date.\n"
        "Filled in automatically when there is one.")
    date = fields.Date(
        "Date", required=True, states=_states,
        help="The date of the document that the gesture produces.")
    kind = fields.Selection([
            ('credit_note', "Credit Note"),
            ('refund', "Refund"),
            ('discount', "Discount"),
            ('free_service', "Free Service"),
            ('payment_delay', "Payment Delay"),
            ], "Kind", required=True, sort=False, states=_states,
        help_selection={
            'credit_note': "Credit the customer "
            "and set it against what he owes.",
            'refund': "Credit the customer and give him the money back.",
            'discount': "Reduce what the customer owes, "
            "on his next invoice or on one that is not paid.",
            'free_service': "Work for the customer without charging it.",
            'payment_delay': "Let the customer pay the invoice later.",
            })
    kind_string = kind.translated('kind')
    reason = fields.Many2One(
        'prm.concession.reason', "Reason", required=True,
        ondelete='RESTRICT', states=_states)
    initiative = fields.Selection([
            ('company', "Company"),
            ('customer', "Customer"),
            ], "Initiative", required=True, sort=False, states=_states,
        help="Who asked for the gesture.")
    interaction = fields.Many2One(
        'prm.interaction', "Interaction", ondelete='RESTRICT',
        domain=[
            ('company', '=', Eval('company', -1)),
            ('private', '=', False),
            If((Eval('id', -1) < 0) & Bool(Eval('party')),
                ('party', '=', Eval('party', -1)),
                ()),
            ],
        states=_states,
        help="The interaction that led to the gesture.")
    invoice = fields.Many2One(
        'account.invoice', "Invoice", ondelete='RESTRICT',
        domain=[
            ('type', '=', 'out'),
            ('company', '=', Eval('company', -1)),
            If((Eval('id', -1) < 0) & Bool(Eval('party')),
                ('party', '=', Eval('party', -1)),
                ()),
            If((Eval('id', -1) < 0),
                ('state', 'in', ['posted', 'paid']),
                ()),
            ],
        states={
            'readonly': _states['readonly'],
            'required': Eval('kind') == 'payment_delay',
            },
        help="The customer invoice that the gesture concerns.\n"
        "Leave empty for a gesture that does not concern a single invoice.")
    discount_on = fields.Selection([
            ('next', "Next Invoice"),
            ('invoice', "Invoice"),
            ], "Discount On", sort=False,
        states={
            'readonly': _states['readonly'],
            'required': Eval('kind') == 'discount',
            'invisible': (
                (Eval('kind') != 'discount') | ~Eval('invoice')),
            },
        help_selection={
            'next': "Reduce the next invoice of the customer.",
            'invoice': "Reduce what the customer still owes "
            "of the invoice.",
            })
    due_date = fields.Date(
        "Due Date",
        states={
            'readonly': _states['readonly'],
            'required': Eval('kind') == 'payment_delay',
            'invisible': Eval('kind') != 'payment_delay',
            },
        help="Until when the customer may pay what is due before.")
    invoice_remaining = fields.Function(Monetary(
            "Remaining of Invoice", currency='currency', digits='currency',
            states={
                'invisible': (
                    ~Eval('invoice')
                    | (Eval('kind') == 'payment_delay')
                    | ~Eval('state').in_(['draft', 'submitted', 'approved'])),
                },
            help="What can still be credited of the invoice, untaxed, "
            "without the other approved gestures."),
        'get_invoice_remaining')
    description = fields.Text("Description", states=_states)
    currency = fields.Many2One(
        'currency.currency', "Currency", required=True,
        states={
            'readonly': _states['readonly'] | Eval('invoice', True),
            })
    amount = Monetary(
        "Amount", currency='currency', digits='currency', required=True,
        states=_states,
        help="The untaxed value of the gesture at sale price.")
    cost = Monetary(
        "Cost", currency='currency', digits='currency',
        states={
            'readonly': _states['readonly'],
            'required': Eval('kind') == 'free_service',
            },
        help="What the gesture costs the company, at cost price.\n"
        "Leave empty if it is the amount.")
    zero_invoice = fields.Boolean(
        "Invoice at Zero",
        states={
            'readonly': _states['readonly'],
            'invisible': Eval('kind') != 'free_service',
            },
        help="Check to make a draft invoice at zero for the customer.")
    imputation_date = fields.Date(
        "Imputation Date", required=True, states=_states,
        help="The date on which the gesture reduces the revenue "
        "in the reviews.")
    company_currency = fields.Function(fields.Many2One(
            'currency.currency', "Company Currency"),
        'on_change_with_company_currency')
    company_amount = Monetary(
        "Amount in Company Currency", currency='company_currency',
        digits='company_currency', readonly=True,
        states={
            'invisible': Eval('currency') == Eval('company_currency'),
            })
    company_cost = Monetary(
        "Cost in Company Currency", currency='company_currency',
        digits='company_currency', readonly=True,
        states={
            'invisible': Eval('currency') == Eval('company_currency'),
            })
    lines = fields.One2Many(
        'account.invoice.line', 'origin', "Invoice Lines", readonly=True)
    results = fields.Many2Many(
        'prm.concession-account.invoice', 'concession', 'invoice', "Results",
        readonly=True,
        states={
            'invisible': ~Eval('results'),
            },
        help="The documents that the gesture produced.")
    consumed_date = fields.Date(
        "Consumed Date", readonly=True,
        states={
            'invisible': (
                (Eval('kind') != 'discount') | ~Eval('granted_date')),
            },
        help="The date of the invoice that the discount reduces.\n"
        "Empty until the next invoice of the customer.")
    delays = fields.One2Many(
        'prm.concession.delay', 'concession', "Delays", readonly=True,
        states={
            'invisible': ~Eval('delays'),
            },
        help="The due dates that the gesture has changed.")
    granted_date = fields.Date(
        "Granted Date", readonly=True,
        states={
            'invisible': ~Eval('granted_date'),
            })
    submitted_by = employee_field(
        "Submitted By",
        states=['submitted', 'approved', 'rejected', 'granted', 'cancelled'])
    approved_by = employee_field(
        "Approved By",
        states=['approved', 'rejected', 'granted', 'cancelled'])
    rejected_by = employee_field(
        "Rejected By",
        states=['approved', 'rejected', 'granted', 'cancelled'])
    granted_by = employee_field(
        "Granted By",
        states=['granted', 'cancelled'])
    cancelled_by = employee_field(
        "Cancelled By",
        states=['cancelled'])
    state = fields.Selection([
            ('draft', "Draft"),
            ('submitted', "Submitted"),
            ('approved', "Approved"),
            ('granted', "Granted"),
            ('rejected', "Rejected"),
            ('cancelled', "Cancelled"),
            ], "State", required=True, readonly=True, sort=False)
    state_string = state.translated('state')
    writable = fields.Function(
        fields.Boolean(
            "Writable",
            help="Check if the rules of access let you act on the gesture."),
        'get_writable')

    del _states

    @classmethod
    def __setup__(cls):
        cls.number.search_unaccented = False
        super().__setup__()
        t = cls.__table__()
        cls._sql_indexes.update({
                Index(t,
                    (t.date, Index.Range(order='DESC')),
                    (t.id, Index.Range(order='DESC'))),
                Index(t,
                    (t.company, Index.Equality()),
                    (t.imputation_date, Index.Range())),
                Index(t, (t.party, Index.Range())),
                Index(t, (t.invoice, Index.Range())),
                Index(
                    t, (t.state, Index.Equality(cardinality='low')),
                    where=t.state.in_(['draft', 'submitted', 'approved'])),
                })
        cls._order = [
            ('date', 'DESC'),
            ('id', 'DESC'),
            ]
        for name in [
                'submitted_by', 'approved_by', 'rejected_by', 'granted_by',
                'cancelled_by']:
            getattr(cls, name).readonly = True
        cls._transitions |= {
            ('draft', 'submitted'),
            ('draft', 'cancelled'),
            ('submitted', 'approved'),
            ('submitted', 'rejected'),
            ('submitted', 'cancelled'),
            ('submitted', 'draft'),
            ('approved', 'granted'),
            ('approved', 'cancelled'),
            ('approved', 'draft'),
            ('rejected', 'draft'),
            ('granted', 'cancelled'),
            ('cancelled', 'draft'),
            }
        groups = Eval('context', {}).get('groups', [])
        manager = Id('prm', 'group_prm_manager').in_(groups)
        accountant = Id('account', 'group_account').in_(groups)
        # A button asks only the rules of reading
        stranger = ~Eval('writable', True)
        cls._buttons.update({
                'submit': {
                    'invisible': Eval('state') != 'draft',
                    'readonly': stranger,
                    'depends': ['state', 'writable'],
                    },
                'approve': {
                    'invisible': Eval('state') != 'submitted',
                    'depends': ['state'],
                    },
                'reject': {
                    'invisible': Eval('state') != 'submitted',
                    'depends': ['state'],
                    },
                'grant': {
                    'invisible': Eval('state') != 'approved',
                    'readonly': stranger & ~accountant,
                    'depends': ['state', 'writable'],
                    },
                'cancel': {
                    'invisible': ~Eval('state').in_([
                            'draft', 'submitted', 'approved', 'granted']),
                    'readonly': stranger | (
                        Eval('state').in_(['approved', 'granted'])
                        & ~manager),
                    'depends': ['state', 'writable'],
                    },
                'draft': {
                    'invisible': (
                        ~Eval('state').in_([
                                'submitted', 'approved',
                                'rejected', 'cancelled'])
                        | Bool(Eval('granted_date'))),
                    'readonly': stranger | (
                        (Eval('state') == 'approved') & ~manager),
                    'icon': If(Eval('state').in_(['rejected', 'cancelled']),
                        'tryton-undo', 'tryton-back'),
                    'depends': ['state', 'granted_date', 'writable'],
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
        return Date.today()

    @classmethod
    def default_imputation_date(cls):
        return cls.default_date()

    @classmethod
    def default_invoice(cls):
        "Return the customer invoice from which the gesture is created"
        pool = Pool()
        Invoice = pool.get('account.invoice')
        invoice_id = Transaction().context.get('concession_invoice')
        if not invoice_id:
            return
        invoices = Invoice.search([
                ('id', '=', invoice_id),
                ('type', '=', 'out'),
                ('state', 'in', ['posted', 'paid']),
                ('untaxed_amount', '>', 0),
                ])
        if invoices:
            return invoices[0].id

    @classmethod
    def default_kind(cls):
        return 'credit_note'

    @classmethod
    def default_discount_on(cls):
        return 'next'

    @classmethod
    def default_zero_invoice(cls):
        return False

    @classmethod
    def default_initiative(cls):
        return 'company'

    @classmethod
    def default_currency(cls):
        pool = Pool()
        Company = pool.get('company.company')
        if (company_id := cls.default_company()) is not None and (
                company_id >= 0):
            return Company(company_id).currency.id

    @classmethod
    def default_state(cls):
        return 'draft'

    @fields.depends('date', 'imputation_date')
    def on_change_date(self):
        # Only what nobody has typed follows the date
        if (self.date
                and self.imputation_date in {
                    None, self.default_imputation_date()}):
            self.imputation_date = self.date

    @fields.depends('company', 'invoice', 'currency')
    def on_change_company(self):
        if self.company and not self.invoice:
            self.currency = self.company.currency

    @fields.depends('company', 'party', 'partner', 'date')
    def on_change_party(self):
        if self.partner and self.partner.party != self.party:
            self.partner = None
        if self.company and self.party and not self.partner:
            values = {
                'company': self.company.id,
                'party': self.party.id,
                'date': self.date,
                }
            self._set_partner([values])
            self.partner = values.get('partner')

    @fields.depends(
        'invoice', 'party', 'currency', '_parent_invoice.party',
        '_parent_invoice.currency', '_parent_invoice.company',
        methods=['on_change_party'])
    def on_change_invoice(self):
        if self.invoice:
            self.company = self.invoice.company
            self.party = self.invoice.party
            self.currency = self.invoice.currency
            self.on_change_party()

    @fields.depends('kind', 'amount')
    def on_change_kind(self):
        if self.kind == 'payment_delay' and self.amount is None:
            self.amount = Decimal(0)

    @fields.depends('company')
    def on_change_with_company_currency(self, name=None):
        return self.company.currency if self.company else None

    @classmethod
    def default_writable(cls):
        return True

    @classmethod
    def get_writable(cls, concessions, name):
        pool = Pool()
        Rule = pool.get('ir.rule')
        writable = dict.fromkeys(map(int, concessions), True)
        if not Transaction().user:
            return writable
        with check_access():
            domain = Rule.domain_get(cls.__name__, mode='write')
        if domain:
            writable = dict.fromkeys(writable, False)
            with without_check_access():
                for sub_ids in grouped_slice(list(writable), _SIZE):
                    writable.update((c.id, True) for c in cls.search(
                            [('id', 'in', list(sub_ids)), domain], order=[]))
        return writable

    @classmethod
    def get_invoice_remaining(cls, concessions, name):
        pool = Pool()
        Invoice = pool.get('account.invoice')
        remaining = dict.fromkeys(map(int, concessions))
        invoices = Invoice.browse(
            list({c.invoice.id for c in concessions if c.invoice}))
        amounts = {
            i: sum(lines.values())
            for i, lines in Invoice.get_creditable_lines(invoices).items()}
        reserved = defaultdict(Decimal)
        reserving = set(cls._reserving(invoices))
        for concession in reserving:
            reserved[concession.invoice] += concession.amount
        for concession in concessions:
            invoice = concession.invoice
            if not invoice:
                continue
            remaining[concession.id] = amounts[invoice] - reserved[invoice]
            if concession in reserving:
                remaining[concession.id] += concession.amount
        return remaining

    @fields.depends('invoice')
    def on_change_with_invoice_remaining(self):
        pool = Pool()
        Invoice = pool.get('account.invoice')
        if self.invoice:
            invoice = Invoice(self.invoice.id)
            amounts = Invoice.get_creditable_lines([invoice])[invoice]
            return sum(amounts.values()) - sum(
                c.amount for c in self._reserving([invoice]))

    @fields.depends(
        'amount', 'kind', 'state', 'invoice',
        methods=['on_change_with_invoice_remaining'])
    def on_change_notify(self):
        notifications = super().on_change_notify()
        if (self.invoice and self.amount and self.state == 'draft'
                and self.kind in self._invoice_kinds()
                and self.amount > self.on_change_with_invoice_remaining()):
            notifications.append(('warning', gettext(
                        'prm.msg_concession_more_than_remaining')))
        return notifications

    def get_rec_name(self, name):
        items = [self.number or f'({self.id})']
        if self.party:
            items.append(self.party.rec_name)
        return ' - '.join(items)

    @classmethod
    def search_rec_name(cls, name, clause):
        _, operator, value = clause
        if operator.startswith('!') or operator.startswith('not '):
            bool_op = 'AND'
        else:
            bool_op = 'OR'
        return [bool_op,
            ('number', *clause[1:]),
            ('party.rec_name', *clause[1:]),
            ]

    def chat_language(self, audience='internal'):
        language = super().chat_language(audience=audience)
        if audience == 'public':
            language = self.party.lang.code if self.party.lang else None
        return language

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            ('/tree', 'visual',
                If(Eval('state').in_(['rejected', 'cancelled']), 'muted',
                    If(Eval('state') == 'submitted', 'warning', ''))),
            ]

    @classmethod
    def booked_query(cls):
        """Return the query of what gestures took off the revenue

        The columns are concession, company, date and amount: debit less
        credit of the posted moves of the documents on revenue accounts, in
        the currency of the company and by date of the move.
        The documents that reverse a cancelled gesture are negative.
        """
        pool = Pool()
        Account = pool.get('account.account')
        AccountType = pool.get('account.account.type')
        Line = pool.get('account.move.line')
        Move = pool.get('account.move')
        account = Account.__table__()
        account_type = AccountType.__table__()
        line = Line.__table__()
        move = Move.__table__()

        lines = cls._booked_lines()
        return (lines
            .join(line, condition=lines.line == line.id)
            .join(move, condition=line.move == move.id)
            .join(account, condition=line.account == account.id)
            .join(account_type, condition=account.type == account_type.id)
            .select(
                lines.concession.as_('concession'),
                move.company.as_('company'),
                move.date.as_('date'),
                cls.company_amount.sql_cast(
                    sql_sum(line.debit - line.credit)).as_('amount'),
                where=(move.state == 'posted')
                & (account_type.revenue == Literal(True)),
                group_by=[lines.concession, move.company, move.date]))

    @classmethod
    def _booked_lines(cls):
        """Return the query of the gestures and the lines of their moves

        Each line once: all the lines of a credit note, of what reverses it,
        made by the gesture or by the accountants, and of the move that
        cancels it; on the invoice which consumes a discount only the lines of
        the discount, those which credit them and which cancel them.
        """
        pool = Pool()
        Invoice = pool.get('account.invoice')
        InvoiceLine = pool.get('account.invoice.line')
        Line = pool.get('account.move.line')
        Result = pool.get('prm.concession-account.invoice')

        queries = []
        for name in ['move', 'cancel_move']:
            concession = cls.__table__()
            invoice = Invoice.__table__()
            line = Line.__table__()
            result = Result.__table__()
            queries.append(result
                .join(concession, condition=result.concession == concession.id)
                .join(invoice, condition=result.invoice == invoice.id)
                .join(line, condition=line.move == getattr(invoice, name))
                .select(
                    concession.id.as_('concession'), line.id.as_('line'),
                    where=concession.kind.in_(['credit_note', 'refund'])))
        for kinds, credit in [
                (['discount'], False), (['discount'], True),
                (['credit_note', 'refund'], True)]:
            for cancel in [False, True]:
                concession = cls.__table__()
                invoice = Invoice.__table__()
                invoice_line = InvoiceLine.__table__()
                line = Line.__table__()
                if kinds == ['discount']:
                    query = concession.join(invoice_line,
                        condition=invoice_line.origin == sql_reference(
                            cls.__name__, concession.id))
                else:
                    result = Result.__table__()
                    query = (concession
                        .join(result,
                            condition=result.concession == concession.id)
                        .join(invoice_line,
                            condition=invoice_line.invoice == result.invoice))
                if credit:
                    credit_line = InvoiceLine.__table__()
                    query = query.join(credit_line,
                        condition=credit_line.origin == sql_reference(
                            'account.invoice.line', invoice_line.id))
                    invoice_line = credit_line
                query = (query
                    .join(invoice,
                        condition=invoice_line.invoice == invoice.id)
                    .join(line,
                        condition=(line.move == invoice.move)
                        & (line.origin == sql_reference(
                                'account.invoice.line', invoice_line.id))))
                if cancel:
                    cancel_line = Line.__table__()
                    query = query.join(cancel_line,
                        condition=(cancel_line.move == invoice.cancel_move)
                        & (cancel_line.origin == sql_reference(
                                'account.move.line', line.id)))
                    line = cancel_line
                queries.append(query.select(
                        concession.id.as_('concession'), line.id.as_('line'),
                        where=concession.kind.in_(kinds)))
        return Union(*queries)

    @classmethod
    def imputed_query(cls):
        """Return the query of what granted gestures reduce in the reviews

        The columns are concession, company, date (of imputation) and amount
        in the currency of the company: a free service at cost, a payment
        delay for nothing, the others at the amount that their document took
        off the revenue.
        """
        table = cls.__table__()
        return table.select(
            table.id.as_('concession'),
            table.company.as_('company'),
            table.imputation_date.as_('date'),
            cls.company_amount.sql_cast(
                sql_sum(cls.sql_imputed(table))).as_('amount'),
            where=table.state == 'granted',
            group_by=[table.id, table.company, table.imputation_date])

    @classmethod
    def sql_imputed(cls, table):
        "SQL expression of what a gesture imputes in the company currency"
        return Case(
            (table.kind == 'free_service', table.company_cost),
            (table.kind == 'payment_delay', Decimal(0)),
            else_=table.company_amount)

    def _get_imputed(self):
        "Return what the gesture imputes in the company currency"
        if self.kind == 'free_service':
            return self.company_cost
        elif self.kind == 'payment_delay':
            return Decimal(0)
        else:
            return self.company_amount

    @classmethod
    def create(cls, vlist):
        return super().create(cls._fill_values(vlist))

    @classmethod
    def _fill_values(cls, vlist):
        "Return the values completed at once for all new gestures"
        pool = Pool()
        Company = pool.get('company.company')
        Configuration = pool.get('prm.configuration')
        Invoice = pool.get('account.invoice')

        configuration = Configuration(1)
        vlist = [v.copy() for v in vlist]
        currencies = {
            i.id: i.currency.id for i in Invoice.browse(list({
                        v['invoice'] for v in vlist
                        if v.get('invoice') and not v.get('currency')}))}
        to_number = defaultdict(list)
        for values in vlist:
            company = values.setdefault('company', cls.default_company())
            if not values.get('date'):
                values['date'] = cls.default_date()
            if not values.get('imputation_date'):
                values['imputation_date'] = values['date']
            if not values.get('currency'):
                if invoice := values.get('invoice'):
                    values['currency'] = currencies[invoice]
                elif company is not None:
                    values['currency'] = Company(company).currency.id
            if company is not None and not values.get('number'):
                to_number[company].append(values)
        for company, to_fill in to_number.items():
            if sequence := configuration.get_multivalue(
                    'concession_sequence', company=company):
                with Transaction().set_context(company=company):
                    numbers = sequence.get_many(len(to_fill))
                for values, number in zip(to_fill, numbers):
                    values['number'] = number
        cls._set_partner(vlist)
        return vlist

    @classmethod
    @without_check_access
    def _set_partner(cls, vlist):
        "Set the partner that the party is at the date, with one search"
        pool = Pool()
        Partner = pool.get('prm.partner')
        without = defaultdict(list)
        for values in vlist:
            if values.get('party') and 'partner' not in values:
                without[values['party']].append(values)
        for sub_parties in grouped_slice(list(without), _SIZE):
            for partner in Partner.search([
                        ('party', 'in', list(sub_parties)),
                        ],
                    order=[('start_date', 'ASC'), ('id', 'ASC')]):
                for values in without[partner.party.id]:
                    date = values.get('date') or cls.default_date()
                    if (partner.company.id == values['company']
                            and not values.get('partner')
                            and (partner.state != 'ended'
                                or date <= partner.end_date)):
                        values['partner'] = partner.id

    @classmethod
    def validate_fields(cls, concessions, field_names):
        super().validate_fields(concessions, field_names)
        cls.check_amount(concessions, field_names)
        cls.check_party(concessions, field_names)
        cls.check_invoice(concessions, field_names)

    @classmethod
    def check_party(cls, concessions, field_names=None):
        if field_names and not (
                field_names & {'party', 'partner', 'interaction'}):
            return
        for concession in concessions:
            for name in ['partner', 'interaction']:
                record = getattr(concession, name)
                if record and record.party not in {None, concession.party}:
                    raise ConcessionValidationError(gettext(
                            'prm.msg_concession_party',
                            concession=concession.rec_name,
                            record=record.rec_name,
                            party=record.party.rec_name,
                            **cls.__names__(name)))

    @classmethod
    def check_amount(cls, concessions, field_names=None):
        if field_names and not (field_names & {'amount', 'cost', 'kind'}):
            return
        for concession in concessions:
            if (concession.amount < 0
                    or (not concession.amount
                        and concession.kind != 'payment_delay')):
                raise ConcessionValidationError(gettext(
                        'prm.msg_concession_amount_not_positive',
                        concession=concession.rec_name))
            if concession.cost is not None and concession.cost < 0:
                raise ConcessionValidationError(gettext(
                        'prm.msg_concession_cost_negative',
                        concession=concession.rec_name))

    @classmethod
    def check_invoice(cls, concessions, field_names=None):
        if field_names and not (
                field_names & {'invoice', 'party', 'company', 'currency'}):
            return
        for concession in concessions:
            invoice = concession.invoice
            if not invoice:
                continue
            if invoice.party != concession.party:
                raise ConcessionValidationError(gettext(
                        'prm.msg_concession_invoice_party',
                        concession=concession.rec_name,
                        invoice=invoice.rec_name,
                        party=invoice.party.rec_name))
            if invoice.currency != concession.currency:
                raise ConcessionValidationError(gettext(
                        'prm.msg_concession_invoice_currency',
                        concession=concession.rec_name,
                        invoice=invoice.rec_name,
                        currency=invoice.currency.rec_name))

    @classmethod
    def _workflow_fields(cls):
        return super()._workflow_fields() | {
            'company_amount', 'company_cost', 'consumed_date',
            'granted_date', 'submitted_by', 'approved_by', 'rejected_by',
            'granted_by', 'cancelled_by',
            }

    @classmethod
    def _protected_fields(cls):
        return {
            'number', 'company', 'party', 'partner', 'date', 'kind',
            'reason', 'initiative', 'interaction', 'invoice', 'currency',
            'amount', 'cost', 'imputation_date', 'due_date', 'zero_invoice',
            'discount_on',
            }

    @classmethod
    def check_modification(
            cls, mode, concessions, values=None, external=False):
        super().check_modification(
            mode, concessions, values=values, external=external)
        if mode == 'write' and values.keys() & cls._protected_fields():
            for concession in concessions:
                if concession.state != 'draft':
                    raise AccessError(gettext(
                            'prm.msg_concession_modify_draft',
                            concession=concession.rec_name))
        elif mode == 'delete':
            for concession in concessions:
                if concession.state != 'draft':
                    raise AccessError(gettext(
                            'prm.msg_concession_delete_draft',
                            concession=concession.rec_name))

    @classmethod
    def copy(cls, concessions, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('number', None)
        default.setdefault('lines', None)
        default.setdefault('results', None)
        default.setdefault('consumed_date', None)
        default.setdefault('delays', None)
        default.setdefault('granted_date', None)
        default.setdefault('company_amount', None)
        default.setdefault('company_cost', None)
        default.setdefault('submitted_by', None)
        default.setdefault('approved_by', None)
        default.setdefault('rejected_by', None)
        default.setdefault('granted_by', None)
        default.setdefault('cancelled_by', None)
        return super().copy(concessions, default=default)

    @classmethod
    @ModelView.button
    @Workflow.transition('draft')
    @reset_employee(
        'submitted_by', 'approved_by', 'rejected_by', 'cancelled_by')
    def draft(cls, concessions):
        for concession in concessions:
            if concession.granted_date:
                raise AccessError(gettext(
                        'prm.msg_concession_draft_granted',
                        concession=concession.rec_name))

    @classmethod
    @ModelView.button
    @Workflow.transition('submitted')
    @set_employee('submitted_by')
    def submit(cls, concessions):
        cls._check_similar(concessions)

    @classmethod
    def _check_similar(cls, concessions):
        "Warn when the customer is asked or was given the same already"
        pool = Pool()
        Configuration = pool.get('prm.configuration')
        Date = pool.get('ir.date')
        Warning = pool.get('res.user.warning')
        user = Transaction().user
        configuration = Configuration(1)
        similar = defaultdict(list)
        by_company = defaultdict(set)
        for concession in concessions:
            by_company[concession.company].add(concession.party.id)
        for company, parties in by_company.items():
            domain = [('state', 'in', ['submitted', 'approved'])]
            recent = configuration.get_multivalue(
                'concession_similar', company=company.id)
            if recent is not None:
                with Transaction().set_context(company=company.id):
                    date = Date.today() - recent
                domain = ['OR', domain, [
                        ('state', '=', 'granted'),
                        ('granted_date', '>=', date),
                        ]]
            for sub_parties in grouped_slice(list(parties), _SIZE):
                for other in cls.search([
                            ('company', '=', company.id),
                            ('party', 'in', list(sub_parties)),
                            domain,
                            ]):
                    own = other.create_uid and other.create_uid.id == user
                    for key in other._get_similar_keys(own=bool(own)):
                        similar[key].append(other)
        for concession in concessions:
            for other in chain(*(
                        similar[k] for k in concession._get_similar_keys())):
                if other != concession:
                    break
            else:
                continue
            key = Warning.format('concession_similar', [concession])
            if Warning.check(key):
                raise ConcessionSimilarWarning(key, gettext(
                        'prm.msg_concession_similar',
                        concession=concession.rec_name,
                        similar=other.rec_name,
                        state=other.state_string))

    def _get_similar_keys(self, own=None):
        """Return what the gesture has in common with similar ones

        One's own is similar only if it is the same, one of somebody else is
        similar if it is for the same invoice or of the same amount for the
        same reason.
        """
        asked = (
            self.company, self.party, self.reason, self.amount, self.currency)
        keys = []
        if own is not False:
            keys.append(('own', self.kind, self.invoice) + asked)
        if not own:
            keys.append(('asked',) + asked)
            if self.invoice:
                keys.append(('invoice', self.invoice))
        return keys

    @classmethod
    @ModelView.button
    @Workflow.transition('approved')
    @set_employee('approved_by')
    def approve(cls, concessions):
        cls._set_company_amounts(concessions)
        cls._check_approve(concessions)

    @classmethod
    def _check_approve(cls, concessions):
        "Check that the user may approve the gestures"

    @classmethod
    @ModelView.button
    @Workflow.transition('rejected')
    @set_employee('rejected_by')
    def reject(cls, concessions):
        pass

    @classmethod
    @ModelView.button
    @Workflow.transition('granted')
    @set_employee('granted_by')
    def grant(cls, concessions):
        pool = Pool()
        Date = pool.get('ir.date')
        if not concessions:
            return
        by_kind = defaultdict(list)
        for concession in concessions:
            by_kind[concession.kind].append(concession)
        # The documents of all kinds at once because the sequence of the
        # invoices follows their dates
        notes = cls._create_credit_notes(
            [c for c in concessions if c._credits()])
        for kind, k_concessions in by_kind.items():
            getattr(cls, f'_grant_{kind}')(k_concessions, notes)
        cls._set_company_amounts(concessions)
        by_company = defaultdict(list)
        for concession in concessions:
            by_company[concession.company].append(concession)
        for company, c_concessions in by_company.items():
            with Transaction().set_context(company=company.id):
                today = Date.today()
            cls.write(c_concessions, {'granted_date': today})

    @classmethod
    def _grant_credit_note(cls, concessions, notes):
        cls._settle({c: notes[c] for c in concessions})

    @classmethod
    def _grant_refund(cls, concessions, notes):
        pass

    @classmethod
    def _grant_discount(cls, concessions, notes):
        concessions = [c for c in concessions if c in notes]
        if not concessions:
            return
        for concession in concessions:
            if concession.invoice.state == 'paid':
                raise ConcessionGrantError(gettext(
                        'prm.msg_concession_discount_paid',
                        concession=concession.rec_name,
                        invoice=concession.invoice.rec_name))
        cls._settle({c: notes[c] for c in concessions})
        cls.write(*chain(*(
                    ([c], {'consumed_date': c.date}) for c in concessions)))

    @classmethod
    def _grant_free_service(cls, concessions, notes):
        pool = Pool()
        Invoice = pool.get('account.invoice')
        Result = pool.get('prm.concession-account.invoice')
        concessions = [c for c in concessions if c.zero_invoice]
        if not concessions:
            return
        invoices = []
        for concession in concessions:
            with Transaction().set_context(company=concession.company.id):
                invoices.append(concession._get_zero_invoice())
        Invoice.save(invoices)
        Result.create([{
                    'concession': concession.id,
                    'invoice': invoice.id,
                    } for concession, invoice in zip(concessions, invoices)])

    @classmethod
    def _grant_payment_delay(cls, concessions, notes):
        pool = Pool()
        Delay = pool.get('prm.concession.delay')
        Invoice = pool.get('account.invoice')
        Line = pool.get('account.move.line')

        cls.lock_invoices({c.invoice for c in concessions})
        invoices = {
            i.id: i for i in Invoice.browse(
                list({c.invoice.id for c in concessions}))}
        to_create, to_write = [], {}
        for concession in concessions:
            date = concession.due_date
            delayed = False
            for line in invoices[concession.invoice.id].lines_to_pay:
                due = to_write.get(line, line.maturity_date)
                if line.reconciliation or (due and due >= date):
                    continue
                to_create.append({
                        'concession': concession.id,
                        'line': line.id,
                        'from_date': due,
                        'to_date': date,
                        })
                to_write[line] = date
                delayed = True
            if not delayed:
                raise ConcessionGrantError(gettext(
                        'prm.msg_concession_nothing_due',
                        concession=concession.rec_name,
                        invoice=concession.invoice.rec_name))
        Delay.create(to_create)
        Delay.postpone(Line, to_write)

    @classmethod
    def _invoice_kinds(cls):
        "The kinds of gesture which reduce the origin invoice"
        return {'credit_note', 'refund'}

    def _credits(self):
        "Test if the granting makes a credit note"
        return (self.kind in self._invoice_kinds()
            or (self.kind == 'discount' and self.invoice
                and self.discount_on == 'invoice'))

    @classmethod
    def _reserving(cls, invoices):
        "Return the approved gestures that will reduce the invoices"
        concessions = []
        for sub_invoices in grouped_slice(invoices, _SIZE):
            concessions.extend(cls.search([
                        ('invoice', 'in', [i.id for i in sub_invoices]),
                        ('state', '=', 'approved'),
                        ('kind', 'in', list(cls._invoice_kinds())),
                        ], order=[]))
        return concessions

    @classmethod
    def lock_invoices(cls, invoices):
        """Prevent that concurrent transactions credit the same invoices

        The update makes a concurrent transaction, which can not see the
        documents of this one, fail and be retried by the server.
        """
        pool = Pool()
        Invoice = pool.get('account.invoice')
        table = Invoice.__table__()
        cursor = Transaction().connection.cursor()
        for sub_ids in grouped_slice(
                sorted(map(int, invoices)), _SIZE):
            cursor.execute(*table.update(
                    [table.company], [table.company],
                    where=fields.SQL_OPERATORS['in'](table.id, sub_ids)))

    @classmethod
    def _share(cls, concessions):
        "Return for each gesture the amount of each line of its invoice"
        pool = Pool()
        Invoice = pool.get('account.invoice')
        invoices = Invoice.browse(
            list({c.invoice.id for c in concessions if c.invoice}))
        return cls._share_over(
            [c for c in concessions if c.invoice],
            Invoice.get_creditable_lines(invoices))

    @classmethod
    def _share_over(cls, concessions, creditable):
        """Return for each gesture the amount of each line of its invoice

        The amount, in the currency of the invoice, is shared by what
        remains of each line; the last one takes the remainder.
        It is taken off the creditable amounts by invoice and line.
        """
        shares = {}
        for concession in concessions:
            invoice = concession.invoice
            if invoice.state not in {'posted', 'paid'}:
                raise ConcessionGrantError(gettext(
                        'prm.msg_concession_invoice_state'
                        if invoice.state == 'cancelled'
                        else 'prm.msg_concession_invoice_not_posted',
                        concession=concession.rec_name,
                        invoice=invoice.rec_name))
            lines = creditable[invoice]
            total = sum(lines.values(), Decimal(0))
            if concession.amount > total:
                lang = Pool().get('ir.lang').get()
                raise ConcessionGrantError(gettext(
                        'prm.msg_concession_over_invoice',
                        concession=concession.rec_name,
                        amount=lang.currency(
                            concession.amount, concession.currency),
                        invoice=invoice.rec_name,
                        remaining=lang.currency(
                            max(total, Decimal(0)), concession.currency)))
            parts = spread(
                concession.amount, [a / total for a in lines.values()],
                concession.currency.round)
            shares[concession] = {
                line: part for line, part in zip(lines, parts) if part}
            for line, part in shares[concession].items():
                lines[line] -= part
        return shares

    @classmethod
    def _create_credit_notes(cls, concessions):
        "Create, post and return the credit notes by gesture"
        pool = Pool()
        Invoice = pool.get('account.invoice')
        Result = pool.get('prm.concession-account.invoice')
        transaction = Transaction()

        cls.lock_invoices({c.invoice for c in concessions if c.invoice})
        shares = cls._share(concessions)
        notes = {}
        for company, c_concessions in groupby(
                sorted(concessions, key=lambda c: c.company.id),
                key=lambda c: c.company):
            c_concessions = list(c_concessions)
            # The gesture has been approved: the warnings of the posting
            # would only ask the same again.
            with transaction.set_context(
                    company=company.id, _skip_warnings=True,
                    _concession_checked=True):
                c_notes = [
                    c._get_credit_note(shares.get(c)) for c in c_concessions]
                Invoice.save(c_notes)
                cls._close_taxes(dict(zip(c_concessions, c_notes)))
                Invoice.post(c_notes)
            notes.update(zip(c_concessions, c_notes))
        Result.create([{
                    'concession': concession.id,
                    'invoice': note.id,
                    } for concession, note in notes.items()])
        return notes

    @classmethod
    def _close_taxes(cls, notes):
        """Give the rest of the taxes to what credits the last of an invoice

        The taxes of each credit note are rounded apart, so that their sum
        may be some cents from the taxes of the invoice.
        """
        pool = Pool()
        Invoice = pool.get('account.invoice')
        Tax = pool.get('account.invoice.tax')

        last = {}
        for concession in notes:
            if concession.invoice:
                last[concession.invoice.id] = concession
        remaining = Invoice.get_creditable_lines(
            Invoice.browse(list(last)))
        closed = [i for i, lines in remaining.items()
            if not any(lines.values())]
        if not closed:
            return
        origins = {l.id: i for i in closed for l in i.line_lines}
        credits = defaultdict(set)
        sources = defaultdict(set)
        for line_id, credit in Invoice._get_credit_lines(
                [l for i in closed for l in i.line_lines]):
            origin = origins[line_id]
            credits[origin].add(credit.invoice.id)
            sources[credit.invoice.id].add(credit.id)
        credit_notes = {
            n.id: n for n in Invoice.browse(list(sources))}
        to_save = []
        for invoice in closed:
            note = notes[last[invoice.id]]
            all_notes = [credit_notes[n] for n in credits[invoice]]
            if any({l.id for l in n.line_lines} - sources[n.id]
                    for n in all_notes):
                # Something else is on the credit notes
                continue
            difference = defaultdict(Decimal)
            for tax in chain(
                    invoice.taxes, *(n.taxes for n in all_notes)):
                difference[tax.account, tax.tax] -= tax.amount
            for tax in credit_notes[note.id].taxes:
                if amount := difference.pop((tax.account, tax.tax), 0):
                    tax.amount += amount
                    to_save.append(tax)
        Tax.save(to_save)

    def _get_credit_note(self, shares):
        "Return the unsaved credit note for the amounts of the lines"
        pool = Pool()
        Invoice = pool.get('account.invoice')
        if self.invoice:
            note = self.invoice._credit()
            note.lines = [
                self._get_credit_line(line, amount)
                for line, amount in shares.items()]
            note.taxes = self._get_manual_taxes()
        else:
            note = Invoice(
                company=self.company, type='out', party=self.party,
                currency=self.currency)
            note.set_journal()
        note.invoice_date = self.date
        note.accounting_date = None
        note.payment_term_date = self.date
        if not self.invoice:
            note.on_change_party()
            note.lines = [self._get_free_line(note)]
        if self.kind == 'refund':
            note.payment_term = None
        note.description = self.reason.name
        note.comment = None
        # The documents of the past do not use the numbers of today
        if Transaction().context.get('_concession_number'):
            note.number = self.number
        return note

    def _get_manual_taxes(self):
        "Return the unsaved share of the taxes typed on the invoice"
        taxes = []
        for tax in self.invoice.taxes:
            if not tax.manual:
                continue
            credit = tax._credit()
            for name in ['base', 'amount']:
                value = getattr(credit, name) or Decimal(0)
                setattr(credit, name, self.currency.round(
                        value * self.amount / self.invoice.untaxed_amount))
            taxes.append(credit)
        return taxes

    def _get_zero_invoice(self):
        "Return the unsaved invoice of a free service"
        pool = Pool()
        Invoice = pool.get('account.invoice')
        invoice = Invoice(
            company=self.company, type='out', party=self.party,
            currency=self.currency)
        invoice.set_journal()
        invoice.on_change_party()
        invoice.description = self.reason.name
        line = self._get_free_line(invoice)
        line.quantity = 1
        line.unit_price = Decimal(0)
        invoice.lines = [line]
        return invoice

    def _get_credit_line(self, line, amount):
        "Return the unsaved line which credits the amount of the line"
        credit = line._credit()
        credit.origin = self
        credit.concession_line = line
        # Neither product nor unit: what has been sold stays sold
        credit.product = None
        credit.unit = None
        credit.quantity = -1
        credit.unit_price = amount
        if 'stock_moves' in credit._fields:
            credit.stock_moves = []
        return credit

    def _get_free_line(self, note):
        "Return the unsaved line of a gesture without invoice"
        pool = Pool()
        AccountConfiguration = pool.get('account.configuration')
        Configuration = pool.get('prm.configuration')
        Line = pool.get('account.invoice.line')
        product = Configuration(1).get_multivalue(
            'concession_product', company=self.company.id)
        line = Line(
            invoice=note, type='line', company=self.company,
            currency=self.currency, invoice_type='out', quantity=-1,
            unit_price=self.amount, description=self.reason.name,
            origin=self, product=product)
        if product:
            line.on_change_product()
        else:
            line.account = AccountConfiguration(1).get_multivalue(
                'default_category_account_revenue', company=self.company.id)
            if line.account:
                line.account = line.account.current(date=self.date)
                line.on_change_account()
        if not line.account:
            raise ConcessionProductMissingError(gettext(
                    'prm.msg_concession_product_missing',
                    concession=self.rec_name,
                    company=self.company.rec_name))
        return line

    def _get_discount_lines(self, invoice):
        """Return the unsaved lines of the discount on the invoice

        There is one line for each account and taxes of the invoice, by the
        share of their lines; the last one takes the remainder.
        """
        pool = Pool()
        Line = pool.get('account.invoice.line')
        amounts, taxes = defaultdict(Decimal), {}
        for line in invoice.line_lines:
            key = line.account, frozenset(line.taxes)
            amounts[key] += line.amount
            taxes[key] = line.taxes
        total = sum(amounts.values())
        parts = spread(
            self.amount, [a / total for a in amounts.values()],
            self.currency.round)
        return [
            Line(
                invoice=invoice, type='line', company=self.company,
                currency=self.currency, quantity=-1, unit_price=part,
                account=key[0], taxes=taxes[key],
                description=self.reason.name, origin=self)
            for key, part in zip(amounts, parts) if part]

    @classmethod
    def _settle(cls, notes):
        "Set the credit notes against the invoices that are not yet paid"
        pool = Pool()
        Configuration = pool.get('account.configuration')
        Invoice = pool.get('account.invoice')
        Line = pool.get('account.move.line')

        invoices = Invoice.browse(
            list({c.invoice.id for c in notes if c.invoice}))
        to_pay = {
            i.id: i.amount_to_pay for i in invoices if i.state == 'posted'}
        credit_notes = {
            n.id: n for n in Invoice.browse(
                [n.id for n in notes.values()])}
        payments = defaultdict(list)
        for concession, note in notes.items():
            invoice, note = concession.invoice, credit_notes[note.id]
            if not invoice or to_pay.get(invoice.id, 0) < -note.total_amount:
                continue
            lines = [
                l for l in note.lines_to_pay
                if not l.reconciliation and not l.invoice_payments]
            if not lines:
                continue
            if (note.account != invoice.account
                    or {l.party for l in lines} - {None, invoice.party}):
                continue
            to_pay[invoice.id] += note.total_amount
            payments[invoice].extend(lines)
        if not payments:
            return
        Invoice.add_payment_lines(payments)
        configuration = Configuration(1)
        to_reconcile = []
        for invoice in Invoice.browse([i.id for i in payments]):
            if invoice.currency != invoice.company.currency and not (
                    configuration.get_multivalue(
                        'currency_exchange_journal',
                        company=invoice.company.id)):
                continue
            lines, remainder = invoice.get_reconcile_lines_for_amount(
                Decimal(0), invoice.currency)
            if lines and not remainder:
                to_reconcile.append(lines)
        if to_reconcile:
            Line.reconcile(*to_reconcile)

    @classmethod
    def _set_company_amounts(cls, concessions):
        "Store the amounts in the currency of the company"
        pool = Pool()
        Currency = pool.get('currency.currency')
        table = cls.__table__()
        cursor = Transaction().connection.cursor()
        local, foreign = [], []
        for concession in concessions:
            if concession.currency == concession.company.currency:
                local.append(concession.id)
            else:
                foreign.append(concession)
        for sub_ids in grouped_slice(local, _SIZE):
            cursor.execute(*table.update(
                    [table.company_amount, table.company_cost],
                    [table.amount, table.cost],
                    where=fields.SQL_OPERATORS['in'](table.id, sub_ids)))
        booked = cls._get_booked(foreign)
        for sub_concessions in grouped_slice(foreign, _SIZE):
            sub_concessions = list(sub_concessions)
            amounts, costs = [], []
            for concession in sub_concessions:
                company = concession.company
                with Transaction().set_context(date=concession.date):
                    amount = booked.get(concession.id)
                    if amount is None:
                        amount = Currency.compute(
                            concession.currency, concession.amount,
                            company.currency)
                    cost = None
                    if concession.cost is not None:
                        cost = Currency.compute(
                            concession.currency, concession.cost,
                            company.currency)
                amounts.append((table.id == concession.id, amount))
                if cost is not None:
                    costs.append((table.id == concession.id, cost))
            # Those without cost keep its null
            cost = table.cost
            if costs:
                cost = Case(*costs, else_=table.cost)
            cursor.execute(*table.update(
                    [table.company_amount, table.company_cost],
                    [Case(*amounts), cost],
                    where=fields.SQL_OPERATORS['in'](
                        table.id, [c.id for c in sub_concessions])))
        # The amounts have changed behind the records
        for concession in concessions:
            concession._local_cache.pop(concession.id, None)
            for cache in Transaction().cache.values():
                if cls.__name__ in cache:
                    cache[cls.__name__].pop(concession.id, None)

    @classmethod
    def _get_booked(cls, concessions):
        "Return what the documents took off the revenue by gesture"
        pool = Pool()
        Result = pool.get('prm.concession-account.invoice')
        booked = {}
        for result in Result.search([
                    ('concession', 'in',
                        [c.id for c in concessions if c._credits()]),
                    ], order=[]):
            booked[result.concession.id] = sum(
                l.debit - l.credit for l in result.invoice.move.lines
                if l.account.type.revenue)
        return booked

    @classmethod
    @ModelView.button
    @Workflow.transition('cancelled')
    @set_employee('cancelled_by')
    def cancel(cls, concessions):
        granted = [c for c in concessions if c.state == 'granted']
        if granted:
            cls._take_back(granted)

    @classmethod
    def _take_back(cls, concessions):
        "Undo what the granting has done"
        cls._check_take_back(concessions)
        cls._reverse(concessions)
        cls._charge_back(concessions)
        cls._cancel_zero_invoices(concessions)
        cls._restore_dates(concessions)

    @classmethod
    def _check_take_back(cls, concessions):
        "Check that the documents can be reversed"
        pool = Pool()
        Date = pool.get('ir.date')
        Lang = pool.get('ir.lang')
        Period = pool.get('account.period')
        checked = set()
        for concession in concessions:
            company = concession.company
            if not (concession.kind in cls._invoice_kinds()
                    or concession.consumed_date):
                continue
            with Transaction().set_context(company=company.id):
                date = Date.today()
            if concession.kind in cls._invoice_kinds():
                date = max(date, concession.date)
            if (company, date) in checked:
                continue
            checked.add((company, date))
            try:
                Period.find(company, date=date)
            except PeriodNotFoundError as error:
                raise ConcessionCancelError(gettext(
                        'prm.msg_concession_cancel_period',
                        concession=concession.rec_name,
                        company=company.rec_name,
                        date=Lang.get().strftime(date))) from error

    @classmethod
    def _reverse(cls, concessions):
        "Reverse the documents of granted gestures"
        pool = Pool()
        Date = pool.get('ir.date')
        Invoice = pool.get('account.invoice')
        PaymentLine = pool.get('account.invoice-account.move.line')
        Result = pool.get('prm.concession-account.invoice')
        transaction = Transaction()

        results = Result.search([
                ('concession', 'in', [c.id for c in concessions]),
                ('concession.kind', 'in', list(cls._invoice_kinds())),
                ('invoice.state', 'in', ['posted', 'paid']),
                ], order=[('concession.company', 'ASC')])
        if not results:
            return
        notes = Invoice.browse([r.invoice.id for r in results])
        lines = [
            l.id for n in notes for l in n.lines_to_pay
            if not l.reconciliation]
        payment_lines = PaymentLine.search([
                ('line', 'in', lines),
                ('invoice.state', '=', 'posted'),
                ])
        if payment_lines:
            Invoice.remove_payment_lines([p.line for p in payment_lines])

        remaining = Invoice.get_creditable_lines(notes)
        to_create = []
        for company, c_results in groupby(
                results, key=lambda r: r.invoice.company):
            c_results = list(c_results)
            with transaction.set_context(
                    company=company.id, _skip_warnings=True,
                    _concession_checked=True):
                today = Date.today()
                open_, settled = [], []
                for result in c_results:
                    note = result.invoice
                    lines = remaining[note]
                    if not any(lines.values()):
                        # The accountants have reversed it
                        continue
                    if (all(l.amount == a for l, a in lines.items())
                            and cls._is_open(note)):
                        open_.append(result)
                    else:
                        settled.append(result)
                if open_:
                    reversals = Invoice.credit(
                        [r.invoice for r in open_], refund=True,
                        invoice_date=max(
                            [today] + [r.concession.date for r in open_]))
                    to_create.extend(
                        cls._get_results(zip(open_, reversals)))
                if settled:
                    reversals = [
                        cls._get_charge(
                            r.invoice, remaining[r.invoice],
                            max(today, r.concession.date))
                        for r in settled]
                    Invoice.save(reversals)
                    Invoice.post(reversals)
                    to_create.extend(
                        cls._get_results(zip(settled, reversals)))
        Result.create(to_create)

    @classmethod
    def _is_open(cls, note):
        "Test if nothing of the credit note is settled"
        return (note.state == 'posted'
            and not any(l.reconciliation for l in note.lines_to_pay))

    @classmethod
    def _get_results(cls, documents):
        "Return the values of the results for couples of result and invoice"
        return [{
                'concession': result.concession.id,
                'invoice': invoice.id,
                } for result, invoice in documents]

    @classmethod
    def _get_charge(cls, invoice, remaining, date):
        """Return the unsaved invoice which charges what remains of the lines

        The amounts of the lines are what the invoice gave and nobody has
        taken back since.
        """
        charge = invoice._credit(invoice_date=date)
        if all(remaining.get(l, 0) == l.amount for l in invoice.line_lines):
            return charge
        lines = []
        for line, amount in remaining.items():
            if not amount:
                continue
            credit = line._credit()
            if amount != line.amount:
                credit.product = None
                credit.unit = None
                credit.quantity = 1
                credit.unit_price = -amount
            lines.append(credit)
        charge.lines = lines
        charge.taxes = []
        return charge

    @classmethod
    def _charge_back(cls, concessions):
        "Invoice the discounts that an invoice has consumed"
        pool = Pool()
        Date = pool.get('ir.date')
        Invoice = pool.get('account.invoice')
        Result = pool.get('prm.concession-account.invoice')
        results = Result.search([
                ('concession', 'in', [c.id for c in concessions]),
                ('concession.kind', '=', 'discount'),
                ('concession.consumed_date', '!=', None),
                ('invoice.state', 'in', ['posted', 'paid']),
                ], order=[('concession.company', 'ASC')])
        # What has been credited since is not charged again
        remaining = Invoice.get_creditable_lines(
            Invoice.browse(list({r.invoice.id for r in results})))
        to_create = []
        for company, c_results in groupby(
                results, key=lambda r: r.concession.company):
            with Transaction().set_context(
                    company=company.id, _skip_warnings=True,
                    _concession_take_back=True):
                today = Date.today()
                charged, charges = [], []
                for result in c_results:
                    lines = {
                        l: a for l, a in remaining[result.invoice].items()
                        if a and l.origin == result.concession}
                    if lines:
                        charged.append(result)
                        charges.append(
                            cls._get_charge(result.invoice, lines, today))
                Invoice.save(charges)
                Invoice.post(charges)
            to_create.extend(cls._get_results(zip(charged, charges)))
        Result.create(to_create)

    @classmethod
    def _cancel_zero_invoices(cls, concessions):
        "Cancel the invoices at zero that are still draft"
        pool = Pool()
        Invoice = pool.get('account.invoice')
        Result = pool.get('prm.concession-account.invoice')
        results = Result.search([
                ('concession', 'in', [c.id for c in concessions]),
                ('concession.kind', '=', 'free_service'),
                ('invoice.state', 'in', ['draft', 'validated']),
                ], order=[])
        if results:
            Invoice.cancel([r.invoice for r in results])

    @classmethod
    def _restore_dates(cls, concessions):
        """Restore the due dates that nothing else has changed since

        What a later gesture has delayed further is restored with this one.
        """
        pool = Pool()
        Delay = pool.get('prm.concession.delay')
        Line = pool.get('account.move.line')
        delays = Delay.search([
                ('concession', 'in', [c.id for c in concessions]),
                ], order=[('id', 'DESC')])
        later = defaultdict(list)
        for sub_lines in grouped_slice(
                list({d.line.id for d in delays}), _SIZE):
            for delay in Delay.search([
                        ('line', 'in', list(sub_lines)),
                        ('concession.state', '=', 'granted'),
                        ], order=[('id', 'ASC')]):
                later[delay.line].append(delay)
        to_write, to_save = {}, []
        for delay in delays:
            line = delay.line
            later[line].remove(delay)
            due = to_write.get(line, line.maturity_date)
            for other in later[line]:
                if (other.id > delay.id
                        and other.from_date == delay.to_date):
                    other.from_date = delay.from_date
                    to_save.append(other)
                    break
            else:
                if not line.reconciliation and due == delay.to_date:
                    to_write[line] = delay.from_date
        Delay.save(to_save)
        Delay.postpone(Line, to_write)


class Delay(ReadonlyMixin, ModelSQL, ModelView):
    __name__ = 'prm.concession.delay'
    __string__ = "Payment Delay"

    concession = fields.Many2One(
        'prm.concession', "Gesture", required=True, readonly=True,
        ondelete='CASCADE')
    line = fields.Many2One(
        'account.move.line', "Line", required=True, readonly=True,
        ondelete='RESTRICT')
    from_date = fields.Date("From Date", readonly=True)
    to_date = fields.Date("To Date", required=True, readonly=True)

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('concession')

    @classmethod
    def postpone(cls, Line, dates):
        "Set the maturity date of the lines"
        by_date = defaultdict(list)
        for line, date in dates.items():
            by_date[date].append(line)
        actions = []
        for date, lines in by_date.items():
            actions.extend((lines, {'maturity_date': date}))
        if actions:
            Line.write(*actions)


class ConcessionInvoice(ReadonlyMixin, ModelSQL):
    __name__ = 'prm.concession-account.invoice'
    __string__ = "Commercial Gesture - Invoice"

    concession = fields.Many2One(
        'prm.concession', "Gesture", required=True, ondelete='CASCADE')
    invoice = fields.Many2One(
        'account.invoice', "Invoice", required=True, ondelete='RESTRICT')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls.__access__.add('concession')
        cls._sql_constraints.append(
            ('concession_invoice_unique',
                Unique(t, t.concession, t.invoice),
                'prm.msg_concession_invoice_unique'))
