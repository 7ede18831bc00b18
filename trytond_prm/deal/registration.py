# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from collections import defaultdict

from trytond.i18n import gettext
from trytond.model import Index, ModelSQL, ModelView, Workflow, fields
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool
from trytond.pyson import Eval, If
from trytond.tools import grouped_slice
from trytond.transaction import Transaction, without_check_access

from .exceptions import (
    RegistrationAccessError, RegistrationConflictError, RegistrationError)

_in = fields.SQL_OPERATORS['in']
_SIZE = 10_000  # values of an IN that every database accepts
_EDITABLE = ['draft', 'returned']
_LIVE = ['submitted', 'approved']


class Registration(Workflow, ModelSQL, ModelView):
    __name__ = 'prm.registration'
    __string__ = "Deal Registration"

    _states = {
        'readonly': ~Eval('state').in_(_EDITABLE),
        }

    company = fields.Many2One(
        'company.company', "Company", required=True, states=_states)
    partner = fields.Many2One(
        'prm.partner', "Partner", required=True, ondelete='RESTRICT',
        domain=[
            ('company', '=', Eval('company', -1)),
            ],
        states=_states,
        help="Who brings the deal.")
    party = fields.Many2One(
        'party.party', "Party", required=True, ondelete='RESTRICT',
        states=_states,
        context={
            'company': Eval('company', -1),
            },
        depends={'company'},
        help="The customer to whom the partner wants to sell.")
    description = fields.Char("Description", states=_states)
    currency = fields.Many2One(
        'currency.currency', "Currency", required=True, states=_states)
    amount = Monetary(
        "Amount", currency='currency', digits='currency', states=_states,
        help="What the deal is expected to bring, untaxed.")
    products = fields.Many2Many(
        'prm.registration-product.product', 'registration', 'product',
        "Products", states=_states,
        context={
            'company': Eval('company', -1),
            },
        depends={'company'},
        help="Leave empty, like the categories, to register all the deals "
        "with the party.")
    categories = fields.Many2Many(
        'prm.registration-product.category', 'registration', 'category',
        "Categories", states=_states,
        context={
            'company': Eval('company', -1),
            },
        depends={'company'})
    expected_close_date = fields.Date(
        "Expected Close Date", states=_states)
    submitted_at = fields.DateTime("Submitted At", readonly=True)
    approved_at = fields.DateTime("Approved At", readonly=True)
    approved_by = fields.Many2One(
        'res.user', "Approved By", readonly=True, ondelete='RESTRICT')
    expires_at = fields.DateTime(
        "Expires At",
        states={
            'readonly': ~Eval('state').in_(_EDITABLE + ['submitted']),
            },
        help="Until when the deal is protected.\n"
        "Leave empty to use the days of the configuration.")
    conflicts = fields.Function(fields.Many2Many(
            'prm.registration', None, None, "Conflicts",
            help="The other registrations of deals with the party that are "
            "submitted or approved and have a product in common."),
        'get_conflicts')
    override_reason = fields.Text(
        "Override Reason",
        states={
            'readonly': Eval('state') != 'submitted',
            },
        help="Why the deal is given to the partner in spite of the "
        "conflicts.\n"
        "Those that are approved are withdrawn.")
    reason = fields.Text(
        "Reason",
        states={
            'readonly': Eval('state') != 'submitted',
            },
        help="Why the registration is returned or rejected.")
    state = fields.Selection([
            ('draft', "Draft"),
            ('submitted', "Submitted"),
            ('returned', "Returned"),
            ('approved', "Approved"),
            ('rejected', "Rejected"),
            ('expired', "Expired"),
            ('converted', "Converted"),
            ('withdrawn', "Withdrawn"),
            ], "State", readonly=True, required=True, sort=False)

    del _states

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls._order = [
            ('submitted_at', 'DESC NULLS FIRST'),
            ('id', 'DESC'),
            ]
        cls._sql_indexes.update({
                Index(t,
                    (t.party, Index.Equality()),
                    (t.state, Index.Equality(cardinality='low'))),
                Index(t, (t.partner, Index.Equality())),
                })
        cls._transitions |= {
            ('draft', 'submitted'),
            ('returned', 'submitted'),
            ('submitted', 'returned'),
            ('submitted', 'approved'),
            ('submitted', 'rejected'),
            ('approved', 'expired'),
            ('approved', 'converted'),
            ('draft', 'withdrawn'),
            ('returned', 'withdrawn'),
            ('submitted', 'withdrawn'),
            ('approved', 'withdrawn'),
            }
        cls._buttons.update({
                'submit': {
                    'invisible': ~Eval('state').in_(_EDITABLE),
                    'icon': 'tryton-forward',
                    'depends': ['state'],
                    },
                'return_': {
                    'invisible': Eval('state') != 'submitted',
                    'icon': 'tryton-back',
                    'depends': ['state'],
                    },
                'approve': {
                    'invisible': Eval('state') != 'submitted',
                    'icon': 'tryton-ok',
                    'depends': ['state'],
                    },
                'reject': {
                    'invisible': Eval('state') != 'submitted',
                    'icon': 'tryton-cancel',
                    'depends': ['state'],
                    },
                'withdraw': {
                    'invisible': ~Eval('state').in_(_EDITABLE + _LIVE),
                    'icon': 'tryton-close',
                    'depends': ['state'],
                    },
                })

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @classmethod
    def default_currency(cls):
        pool = Pool()
        Company = pool.get('company.company')
        if (company := cls.default_company()) is not None:
            return Company(company).currency.id

    @classmethod
    def default_state(cls):
        return 'draft'

    @classmethod
    def get_conflicts(cls, registrations, name):
        conflicts = cls._find_conflicts(registrations)
        return {
            r.id: [c.id for c in conflicts[r]] for r in registrations}

    @classmethod
    @without_check_access
    def _find_conflicts(cls, registrations):
        "Return the live registrations with which each is in conflict"
        live = defaultdict(list)
        parties = list({r.party.id for r in registrations if r.party})
        for sub_parties in grouped_slice(parties, _SIZE):
            for other in cls.search([
                        ('party', 'in', list(sub_parties)),
                        ('state', 'in', _LIVE),
                        ], order=[('submitted_at', 'ASC'), ('id', 'ASC')]):
                live[other.company, other.party].append(other)
        return {
            r: [
                o for o in live[r.company, r.party]
                if o != r and r._overlaps(o)]
            for r in registrations}

    def _overlaps(self, other):
        "Test if both are for a same product"
        if not all(r.products or r.categories for r in [self, other]):
            return True
        products, others = set(self.products), set(other.products)
        categories = set(self.categories)
        other_categories = set(other.categories)
        return bool(
            products & others
            or categories & other_categories
            or self._in_categories(products, other_categories)
            or self._in_categories(others, categories))

    @classmethod
    def _in_categories(cls, products, categories):
        return any(
            c in categories for p in products for c in p.template.categories)

    def get_rec_name(self, name):
        return ' - '.join(filter(None, [
                    self.partner.rec_name, self.party.rec_name,
                    self.description]))

    @classmethod
    def search_rec_name(cls, name, clause):
        _, operator, *_ = clause
        bool_op = ('AND'
            if operator.startswith('!') or operator.startswith('not ')
            else 'OR')
        return [bool_op, *(
                (n, *clause[1:])
                for n in ['partner.rec_name', 'party.rec_name',
                    'description'])]

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            ('/tree', 'visual',
                If(Eval('state').in_(['rejected', 'expired', 'withdrawn']),
                    'muted', '')),
            ]

    @classmethod
    def check_modification(
            cls, mode, registrations, values=None, external=False):
        super().check_modification(
            mode, registrations, values=values, external=external)
        if mode == 'create' and external:
            for registration in registrations:
                if registration.state != 'draft' or registration.approved_at:
                    raise RegistrationAccessError(gettext(
                            'prm.msg_registration_create_draft',
                            registration=registration.rec_name))
        elif mode == 'write' and external:
            free = {'override_reason', 'reason', 'expires_at'}
            for registration in registrations:
                allowed = (
                    registration.state in _EDITABLE
                    and not values.keys() & {
                        'state', 'submitted_at', 'approved_at',
                        'approved_by'}
                    or registration.state == 'submitted'
                    and not values.keys() - free)
                if not allowed:
                    raise RegistrationAccessError(gettext(
                            'prm.msg_registration_modify_draft',
                            registration=registration.rec_name))
        elif mode == 'delete':
            for registration in registrations:
                if registration.state != 'draft':
                    raise RegistrationAccessError(gettext(
                            'prm.msg_registration_delete_draft',
                            registration=registration.rec_name))

    @classmethod
    def copy(cls, registrations, default=None):
        default = default.copy() if default is not None else {}
        for name in [
                'submitted_at', 'approved_at', 'approved_by', 'expires_at',
                'override_reason', 'reason']:
            default.setdefault(name, None)
        return super().copy(registrations, default=default)

    @classmethod
    @ModelView.button
    @Workflow.transition('submitted')
    def submit(cls, registrations):
        for registration in registrations:
            if registration.partner.state not in {'onboarding', 'active'}:
                raise RegistrationError(gettext(
                        'prm.msg_registration_partner',
                        registration=registration.rec_name,
                        partner=registration.partner.rec_name))
        cls.write(registrations, {'submitted_at': dt.datetime.now()})

    @classmethod
    def _check_reason(cls, registrations):
        for registration in registrations:
            if not registration.reason:
                raise RegistrationError(gettext(
                        'prm.msg_registration_reason',
                        registration=registration.rec_name))

    @classmethod
    @ModelView.button
    @Workflow.transition('returned')
    def return_(cls, registrations):
        "Ask the partner for more"
        cls._check_reason(registrations)

    @classmethod
    @ModelView.button
    @Workflow.transition('approved')
    def approve(cls, registrations):
        """Make the partners the holders of the deals

        Who has submitted first wins unless it is overridden. There is only
        one approved holder at a time of a product for a party.
        """
        pool = Pool()
        Configuration = pool.get('prm.configuration')
        configuration = Configuration(1)
        now = dt.datetime.now().replace(microsecond=0)
        cls._lock_parties(registrations)
        conflicts = cls._find_conflicts(registrations)
        to_withdraw = set()
        for i, registration in enumerate(registrations):
            for other in conflicts[registration]:
                if other in registrations[:i]:
                    # Approved at the same time
                    blocks = True
                else:
                    blocks = (other.state == 'approved'
                        or other._is_before(registration))
                if not blocks:
                    continue
                if (not registration.override_reason
                        or other in registrations):
                    raise RegistrationConflictError(gettext(
                            'prm.msg_registration_conflict',
                            registration=registration.rec_name,
                            other=other.rec_name))
                if other.state == 'approved':
                    to_withdraw.add(other)
        if to_withdraw:
            cls.withdraw(list(to_withdraw))
        days = {}
        to_write = defaultdict(list)
        for registration in registrations:
            company = registration.company
            if company not in days:
                days[company] = configuration.get_multivalue(
                    'registration_days', company=company.id)
            to_write[
                registration.expires_at
                or now + dt.timedelta(days=days[company])].append(
                    registration)
        if to_write:
            cls.write(*sum((
                        (rs, {
                            'expires_at': expires_at,
                            'approved_at': now,
                            'approved_by': Transaction().user,
                            }) for expires_at, rs in to_write.items()), ()))

    def _is_before(self, other):
        return ((self.submitted_at, self.id)
            < (other.submitted_at, other.id))

    @classmethod
    def _lock_parties(cls, registrations):
        """Prevent concurrent approvals of deals with the same parties

        The update makes a concurrent transaction, which can not see the
        approval of this one, fail and be retried by the server.
        """
        pool = Pool()
        Party = pool.get('party.party')
        table = Party.__table__()
        cursor = Transaction().connection.cursor()
        for sub_ids in grouped_slice(
                sorted({r.party.id for r in registrations}), _SIZE):
            cursor.execute(*table.update(
                    [table.active], [table.active],
                    where=_in(table.id, list(sub_ids))))

    @classmethod
    @ModelView.button
    @Workflow.transition('rejected')
    def reject(cls, registrations):
        cls._check_reason(registrations)

    @classmethod
    @ModelView.button
    @Workflow.transition('withdrawn')
    def withdraw(cls, registrations):
        pass

    @classmethod
    @Workflow.transition('expired')
    def expire(cls, registrations):
        pass

    @classmethod
    def expire_all(cls):
        "Expire the registrations whose protection is over"
        cls.expire(cls.search([
                    ('state', '=', 'approved'),
                    ('expires_at', '<', dt.datetime.now()),
                    ]))


class RegistrationProduct(ModelSQL):
    __name__ = 'prm.registration-product.product'
    __string__ = "Deal Registration - Product"

    registration = fields.Many2One(
        'prm.registration', "Registration", required=True,
        ondelete='CASCADE')
    product = fields.Many2One(
        'product.product', "Product", required=True, ondelete='RESTRICT')


class RegistrationCategory(ModelSQL):
    __name__ = 'prm.registration-product.category'
    __string__ = "Deal Registration - Category"

    registration = fields.Many2One(
        'prm.registration', "Registration", required=True,
        ondelete='CASCADE')
    category = fields.Many2One(
        'product.category', "Category", required=True, ondelete='RESTRICT')
