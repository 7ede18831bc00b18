# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from collections import Counter, defaultdict
from decimal import Decimal

from sql import Literal, Null
from sql.conditionals import Case, Coalesce
from sql.functions import CharLength
from sql.operators import Equal

from trytond import backend
from trytond.i18n import gettext
from trytond.model import (
    DeactivableMixin, Exclude, Index, ModelSQL, ModelView, Unique, Workflow,
    fields, sequence_ordered, tree)
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool
from trytond.pyson import Bool, Eval, If
from trytond.tools import grouped_slice, is_full_text, lstrip_wildcard
from trytond.transaction import Transaction, check_access, without_check_access
from trytond.wizard import Button, StateTransition, StateView, Wizard

from ..tools import Inline, sql_invoiced, sql_sum
from .exceptions import (
    ManagerError, PartnerDeleteError, PartnerOpenError, PartnerStateError)

_in = fields.SQL_OPERATORS['in']
_SIZE = 10_000  # values of an IN that every database accepts


def _format_date(date):
    return Pool().get('ir.lang').get().strftime(date)


class PartnerType(DeactivableMixin, ModelSQL, ModelView):
    __name__ = 'prm.partner.type'
    __string__ = "Partner Type"

    name = fields.Char("Name", required=True, translate=True)
    description = fields.Text("Description", translate=True)
    steps = fields.One2Many(
        'prm.partner.type.step', 'type', "Onboarding Steps",
        help="The checklist that a partner of the type gets at onboarding.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._order.insert(0, ('name', 'ASC'))


class PartnerEndReason(DeactivableMixin, ModelSQL, ModelView):
    __name__ = 'prm.partner.end_reason'
    __string__ = "Partner End Reason"

    name = fields.Char("Name", required=True, translate=True)

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._order.insert(0, ('name', 'ASC'))


class Partner(Workflow, tree(name='rec_name'), ModelSQL, ModelView):
    __name__ = 'prm.partner'
    __string__ = "Partner"

    _states_ended = {
        'readonly': Eval('state') == 'ended',
        }

    company = fields.Many2One(
        'company.company', "Company", required=True,
        states={
            'readonly': (Eval('state') != 'prospect') | Eval('party', True),
            })
    number = fields.Char(
        "Number", readonly=True,
        help="The main identifier of the partner.")
    party = fields.Many2One(
        'party.party', "Party", required=True, ondelete='RESTRICT',
        states={
            'readonly': Eval('state') != 'prospect',
            },
        context={
            'company': Eval('company', -1),
            },
        depends={'company'},
        help="The business with which the relationship is.")
    type = fields.Many2One(
        'prm.partner.type', "Type", ondelete='RESTRICT',
        states=_states_ended)
    specialisations = fields.Many2Many(
        'prm.partner-prm.partner.specialisation',
        'partner', 'specialisation', "Specialisations",
        states=_states_ended,
        help="What the partner is good at.")
    territory = fields.Many2One(
        'prm.territory', "Territory", ondelete='RESTRICT',
        domain=[
            ('company', '=', Eval('company', -1)),
            ],
        states=_states_ended,
        help="By default the one to which the address of the party belongs.")
    parent = fields.Many2One(
        'prm.partner', "Parent", ondelete='RESTRICT',
        domain=[
            ('company', '=', Eval('company', -1)),
            ],
        states=_states_ended,
        help="The partner to which this one belongs.")
    children = fields.One2Many(
        'prm.partner', 'parent', "Sub-Partners", readonly=True)
    contacts = fields.One2Many(
        'prm.partner.contact', 'partner', "Contacts", states=_states_ended,
        help="The people to talk to.")
    steps = fields.One2Many(
        'prm.partner.step', 'partner', "Onboarding Steps",
        states={
            'readonly': Eval('state') != 'onboarding',
            'invisible': Eval('state') == 'prospect',
            },
        help="What must be done before the partner is active.")
    agreements = fields.One2Many(
        'prm.agreement', 'partner', "Agreements", states=_states_ended)
    managers = fields.One2Many(
        'prm.partner.manager', 'partner', "Managers",
        states=_states_ended,
        help="The employees who managed the partner, one after the other.")
    manager = fields.Function(fields.Many2One(
            'company.employee', "Manager",
            domain=[
                ('company', '=', Eval('company', -1)),
                ],
            states={
                'readonly': Eval('id', -1) >= 0,
                },
            help="The employee who manages the partner today.\n"
            "It is changed by a handover."),
        'get_manager', setter='set_manager', searcher='search_manager')
    start_date = fields.Date(
        "Start Date", required=True, states=_states_ended,
        help="When the relationship started.")
    end_date = fields.Date(
        "End Date",
        domain=[
            If(Bool(Eval('end_date')) & Bool(Eval('start_date')),
                ('end_date', '>=', Eval('start_date')),
                ()),
            ],
        states={
            'readonly': Eval('state') == 'ended',
            'required': Eval('state') == 'ended',
            },
        help="The last day of the relationship.")
    end_reason = fields.Many2One(
        'prm.partner.end_reason', "End Reason", ondelete='RESTRICT',
        states={
            'readonly': Eval('state') == 'ended',
            'required': Eval('state') == 'ended',
            },
        help="Why the relationship ended.")
    previous = fields.Many2One(
        'prm.partner', "Previous", ondelete='RESTRICT', readonly=True,
        states={
            'invisible': ~Eval('previous'),
            },
        help="The ended relationship that this one restarts.")
    description = fields.Text("Description", states=_states_ended)
    currency = fields.Function(fields.Many2One(
            'currency.currency', "Currency"),
        'on_change_with_currency')
    revenue = fields.Function(Monetary(
            "Revenue", currency='currency', digits='currency',
            help="The amount of the posted customer invoices less the "
            "credit notes of this year, untaxed."),
        'get_revenue', searcher='search_revenue')
    revenue_last_year = fields.Function(Monetary(
            "Revenue of Last Year", currency='currency', digits='currency',
            help="The amount of the posted customer invoices less the "
            "credit notes of last year, untaxed."),
        'get_revenue', searcher='search_revenue')
    state = fields.Selection([
            ('prospect', "Prospect"),
            ('onboarding', "Onboarding"),
            ('active', "Active"),
            ('suspended', "Suspended"),
            ('ended', "Ended"),
            ], "State", readonly=True, required=True, sort=False)

    del _states_ended

    @classmethod
    def __setup__(cls):
        cls.number.search_unaccented = False
        super().__setup__()
        t = cls.__table__()
        cls._order = [
            ('number', 'DESC'),
            ('id', 'DESC'),
            ]
        cls._sql_constraints += [
            ('party_open_exclude',
                Exclude(t, (t.company, Equal), (t.party, Equal),
                    where=t.state != Inline('ended')),
                'prm.msg_partner_open_unique'),
            ]
        cls._sql_indexes.update({
                Index(t, (t.number, Index.Similarity())),
                Index(t,
                    (CharLength(t.number), Index.Range(order='DESC')),
                    (t.number, Index.Range(order='DESC'))),
                Index(t, (t.party, Index.Equality())),
                Index(t, (t.territory, Index.Equality())),
                Index(t,
                    (t.state, Index.Equality(cardinality='low')),
                    where=t.state != Inline('ended')),
                })
        cls._transitions |= {
            ('prospect', 'onboarding'),
            ('onboarding', 'active'),
            ('active', 'suspended'),
            ('suspended', 'active'),
            ('prospect', 'ended'),
            ('onboarding', 'ended'),
            ('active', 'ended'),
            ('suspended', 'ended'),
            }
        cls._buttons.update({
                'onboard': {
                    'invisible': Eval('state') != 'prospect',
                    'icon': 'tryton-forward',
                    'depends': ['state'],
                    },
                'activate': {
                    'invisible': Eval('state') != 'onboarding',
                    'icon': 'tryton-ok',
                    'depends': ['state'],
                    },
                'suspend': {
                    'invisible': Eval('state') != 'active',
                    'icon': 'tryton-back',
                    'depends': ['state'],
                    },
                'resume': {
                    'invisible': Eval('state') != 'suspended',
                    'icon': 'tryton-forward',
                    'depends': ['state'],
                    },
                'end': {
                    'invisible': Eval('state') == 'ended',
                    'icon': 'tryton-close',
                    'depends': ['state'],
                    },
                'restart': {
                    'invisible': Eval('state') != 'ended',
                    'icon': 'tryton-refresh',
                    'depends': ['state'],
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
    def default_manager(cls):
        return Transaction().context.get('employee')

    @classmethod
    def default_start_date(cls):
        return Pool().get('ir.date').today()

    @classmethod
    def default_state(cls):
        return 'prospect'

    @fields.depends('company', 'party', 'territory')
    def on_change_party(self):
        pool = Pool()
        Territory = pool.get('prm.territory')
        if self.company and self.party and self.party.id >= 0:
            key = (self.company.id, self.party.id)
            self.territory = Territory.of_parties([key])[key]

    @fields.depends('company')
    def on_change_with_currency(self, name=None):
        return self.company.currency if self.company else None

    @classmethod
    def _date(cls):
        "Return the date of the context or today"
        pool = Pool()
        Date = pool.get('ir.date')
        return Transaction().context.get('date') or Date.today()

    @classmethod
    def _manager_query(cls, where=None):
        """Return the query of the manager of each partner

        It is the one of the context's date, or the last one of an ended
        partner.
        """
        pool = Pool()
        Manager = pool.get('prm.partner.manager')
        manager = Manager.__table__()
        partner = cls.__table__()
        date = Manager.start_date.sql_cast(
            Literal(cls._date()))
        date = Case(
            ((partner.state == Inline('ended')) & (partner.end_date < date),
                partner.end_date),
            else_=date)
        condition = ((manager.start_date <= date)
            & ((manager.end_date == Null) | (manager.end_date >= date)))
        if where:
            condition &= where(partner, manager)
        return (partner
            .join(manager, condition=manager.partner == partner.id)
            .select(
                partner.id.as_('partner'),
                manager.employee.as_('employee'),
                where=condition))

    @classmethod
    def get_manager(cls, partners, name):
        managers = dict.fromkeys(map(int, partners))
        cursor = Transaction().connection.cursor()
        for sub_partners in grouped_slice(partners, _SIZE):
            cursor.execute(*cls._manager_query(
                    lambda p, m: _in(
                        p.id, list(map(int, sub_partners)))))
            managers.update(cursor)
        return managers

    @classmethod
    def set_manager(cls, partners, name, value):
        if value is not None:
            cls.handover(partners, value)

    @classmethod
    def search_manager(cls, name, clause):
        pool = Pool()
        Employee = pool.get('company.employee')
        _, operator, operand, *extra = clause
        nested = clause[0][len(name) + 1:]
        query = cls._manager_query()
        if operand is None and not nested:
            if operator in {'=', '!='}:
                operator = 'not in' if operator == '=' else 'in'
                query.columns = query.columns[:1]
                return [('id', operator, query)]
        if nested:
            target = [(nested, operator, operand, *extra)]
        elif isinstance(operand, str):
            target = [('rec_name', operator, operand)]
        else:
            target = [('id', operator, operand)]
        employees = Employee.search(target, order=[], query=True)
        query = cls._manager_query(
            lambda p, m: m.employee.in_(employees))
        query.columns = query.columns[:1]
        return [('id', 'in', query)]

    @classmethod
    def get_revenue(cls, partners, names):
        "Return the revenue of the year of the context's date and the last"
        revenues = cls.revenue_of(
            partners, [cls._revenue_period(n) for n in names])
        return {
            n: {p: amounts[i] for p, amounts in revenues.items()}
            for i, n in enumerate(names)}

    @classmethod
    def _revenue_period(cls, name):
        "Return the first and the last day of the year of the field"
        year = cls._date().year - {'revenue': 0, 'revenue_last_year': 1}[name]
        return dt.date(year, 1, 1), dt.date(year, 12, 31)

    @classmethod
    def search_revenue(cls, name, clause):
        _, operator, value = clause
        Operator = fields.SQL_OPERATORS[operator]
        # SQLite sums as float
        convert = float if backend.name == 'sqlite' else Decimal
        if isinstance(value, (list, tuple, set)):
            value = [convert(v) for v in value]
        elif value is not None:
            value = convert(value)
        table = cls.__table__()
        query, _ = cls._revenue_query([cls._revenue_period(name)])
        return [('id', 'in', table
                .join(query, 'LEFT', condition=query.id == table.id)
                .select(
                    table.id,
                    where=Operator(Coalesce(query.revenue0, 0), value)))]

    @classmethod
    def revenue_of(cls, partners, periods):
        """Return by id the revenue of each partner for each period

        The periods are pairs of the first and the last day. The revenue is
        the credit less the debit of what the lines of the posted customer
        invoices booked, in company currency, by invoice date.
        """
        cursor = Transaction().connection.cursor()
        currencies = {p.id: p.company.currency for p in partners}
        revenues = {
            p.id: [Decimal(0)] * len(periods) for p in partners}
        for sub_partners in grouped_slice(partners, _SIZE):
            query, table = cls._revenue_query(periods)
            query.where &= _in(table.id, list(map(int, sub_partners)))
            cursor.execute(*query)
            for partner, *amounts in cursor:
                revenues[partner] = [Decimal(str(a)) for a in amounts]
        return {
            p: [currencies[p].round(a) for a in amounts]
            for p, amounts in revenues.items()}

    @classmethod
    def _revenue_query(cls, periods):
        "Return the SQL query of the revenues by partner and its table"
        pool = Pool()
        Invoice = pool.get('account.invoice')
        MoveLine = pool.get('account.move.line')
        table = cls.__table__()
        invoice = Invoice.__table__()
        line = MoveLine.__table__()
        columns = [
            sql_sum(Case((
                        (invoice.invoice_date >= start)
                        & (invoice.invoice_date <= end),
                        line.credit - line.debit),
                    else_=0)).as_(f'revenue{i}')
            for i, (start, end) in enumerate(periods)]
        query = (table
            .join(invoice,
                condition=(invoice.party == table.party)
                & (invoice.company == table.company))
            .join(line, condition=line.move == invoice.move)
            .select(
                table.id.as_('id'), *columns,
                where=sql_invoiced(invoice)
                & (invoice.invoice_date >= min(s for s, _ in periods))
                & (invoice.invoice_date <= max(e for _, e in periods))
                & line.origin.like('account.invoice.line,%'),
                group_by=table.id))
        return query, table

    def get_rec_name(self, name):
        items = []
        if self.number:
            items.append(f'[{self.number}]')
        items.append(self.party.rec_name)
        return ' '.join(items)

    @classmethod
    def search_rec_name(cls, name, clause):
        _, operator, operand, *extra = clause
        if operator.startswith('!') or operator.startswith('not '):
            bool_op = 'AND'
        else:
            bool_op = 'OR'
        number_value = operand
        if operator.endswith('like') and is_full_text(operand):
            number_value = lstrip_wildcard(operand)
        return [bool_op,
            ('number', operator, number_value, *extra),
            ('party.rec_name', operator, operand, *extra),
            ('contacts.party.rec_name', operator, operand, *extra),
            ]

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            ('/tree', 'visual',
                If(Eval('state') == 'ended', 'muted',
                    If(Eval('state') == 'suspended', 'warning', ''))),
            ]

    @classmethod
    def create(cls, vlist):
        vlist = [v.copy() for v in vlist]
        cls._check_open(vlist)
        cls._set_number(vlist)
        cls._set_territory(vlist)
        for values in vlist:
            # The setter would be called for each record
            manager = values.pop('manager', None)
            if manager is not None and not values.get('managers'):
                values['managers'] = [('create', [{
                                'employee': manager,
                                'start_date': values.get('start_date')
                                or cls.default_start_date(),
                                }])]
            values['manager'] = None
        with Transaction().set_context(_prm_handover=True):
            partners = super().create(vlist)
        # Without the context of the creation
        return cls.browse(partners)

    @classmethod
    def _set_number(cls, vlist):
        "Set the number of the values, one call of the sequence by company"
        pool = Pool()
        Configuration = pool.get('prm.configuration')
        configuration = Configuration(1)
        without = defaultdict(list)
        for values in vlist:
            if not values.get('number'):
                without[values.get('company', cls.default_company())].append(
                    values)
        for company, to_number in without.items():
            if sequence := configuration.get_multivalue(
                    'partner_sequence', company=company):
                for values, number in zip(
                        to_number, sequence.get_many(len(to_number))):
                    values['number'] = number

    @classmethod
    def _set_territory(cls, vlist):
        "Set the territory of the values without, in bulk"
        pool = Pool()
        Territory = pool.get('prm.territory')
        without = defaultdict(list)
        for values in vlist:
            if 'territory' not in values and values.get('party') is not None:
                without[
                    values.get('company', cls.default_company()),
                    values['party']].append(values)
        if without:
            territories = Territory.of_parties(list(without))
            for key, to_set in without.items():
                for values in to_set:
                    values['territory'] = (
                        territories[key].id if territories[key] else None)

    @classmethod
    @without_check_access
    def _check_open(cls, vlist):
        """Refuse a second open partner of a party

        The constraint decides, but only this names the party.
        """
        pool = Pool()
        Party = pool.get('party.party')
        keys = set()
        for values in vlist:
            if values.get('state', 'prospect') == 'ended':
                continue
            key = (
                values.get('company', cls.default_company()),
                values.get('party'))
            if key in keys:
                raise PartnerOpenError(gettext(
                        'prm.msg_partner_open_exists',
                        party=Party(key[1]).rec_name))
            keys.add(key)
        for sub_keys in grouped_slice(keys, _SIZE):
            sub_keys = set(sub_keys)
            for partner in cls.search([
                        ('party', 'in', list({p for _, p in sub_keys})),
                        ('state', '!=', 'ended'),
                        ]):
                if (partner.company.id, partner.party.id) in sub_keys:
                    raise PartnerOpenError(gettext(
                            'prm.msg_partner_open_exists',
                            party=partner.party.rec_name))

    @classmethod
    def write(cls, *args):
        actions = iter(args)
        for partners, values in zip(actions, actions):
            if 'manager' in values and values['manager'] is None:
                raise ManagerError(gettext(
                        'prm.msg_partner_manager_remove',
                        partner=partners[0].rec_name))
        # The managers are checked once all of them are written
        with Transaction().set_context(_prm_handover=True):
            super().write(*args)

    @classmethod
    def check_modification(cls, mode, partners, values=None, external=False):
        super().check_modification(
            mode, partners, values=values, external=external)
        if mode == 'delete':
            for partner in partners:
                if partner.state != 'prospect':
                    raise PartnerDeleteError(gettext(
                            'prm.msg_partner_delete_prospect',
                            partner=partner.rec_name))

    @classmethod
    def validate_fields(cls, partners, field_names):
        super().validate_fields(partners, field_names)
        if {'state', 'managers'} & field_names:
            cls.check_managers(partners)

    @classmethod
    def check_managers(cls, partners):
        """Check that an open relationship always has exactly one manager

        Active and suspended partners have managers who follow one another
        without gap until further notice.
        """
        pool = Pool()
        Manager = pool.get('prm.partner.manager')
        partners = [
            p for p in cls.browse(partners)
            if p.state in {'active', 'suspended'}]
        if not partners:
            return
        day = dt.timedelta(days=1)
        periods = defaultdict(list)
        for sub_partners in grouped_slice(partners, _SIZE):
            for manager in Manager.search([
                        ('partner', 'in', list(map(int, sub_partners))),
                        ],
                    order=[('start_date', 'ASC')]):
                periods[manager.partner].append(manager)
        for partner in partners:
            managers = periods[partner]
            if not managers:
                raise ManagerError(gettext(
                        'prm.msg_partner_manager_missing',
                        partner=partner.rec_name))
            for before, after in zip(managers, managers[1:]):
                if (before.end_date
                        and before.end_date + day < after.start_date):
                    raise ManagerError(gettext(
                            'prm.msg_partner_manager_gap',
                            partner=partner.rec_name,
                            date=_format_date(
                                before.end_date + day)))
            if managers[-1].end_date:
                raise ManagerError(gettext(
                        'prm.msg_partner_manager_gap',
                        partner=partner.rec_name,
                        date=_format_date(
                            managers[-1].end_date + day)))

    @classmethod
    def copy(cls, partners, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('number', None)
        default.setdefault('managers', None)
        default.setdefault('agreements', None)
        default.setdefault('steps', None)
        default.setdefault('children', None)
        default.setdefault('start_date', cls.default_start_date())
        default.setdefault('end_date', None)
        default.setdefault('end_reason', None)
        default.setdefault('previous', None)
        return super().copy(partners, default=default)

    @classmethod
    def handover(cls, partners, employee, date=None):
        """Make the employee manage the partners from the date on

        The date is today by default. The new manager stays until the next
        handover already planned. Managers who would start after the end of
        an ended partner are refused.
        """
        pool = Pool()
        Employee = pool.get('company.employee')
        Manager = pool.get('prm.partner.manager')
        if date is None:
            date = cls._date()
        employee = Employee(employee)
        day = dt.timedelta(days=1)
        cls.lock(partners)
        periods = defaultdict(list)
        for sub_partners in grouped_slice(partners, _SIZE):
            for manager in Manager.search([
                        ('partner', 'in', list(map(int, sub_partners))),
                        ],
                    order=[('start_date', 'ASC')]):
                periods[manager.partner.id].append(manager)

        close, replace, create = [], [], []
        handovers = []
        for partner in partners:
            if (partner.state == 'ended'
                    and partner.end_date and partner.end_date < date):
                raise PartnerStateError(gettext(
                        'prm.msg_partner_handover_ended',
                        partner=partner.rec_name,
                        date=_format_date(date)))
            managers = periods[partner.id]
            current = next((
                    m for m in managers
                    if m.start_date <= date
                    and (not m.end_date or m.end_date >= date)), None)
            if current:
                if current.employee == employee:
                    continue
                end_date = current.end_date
                handovers.append((partner, current.employee, end_date))
                if current.start_date == date:
                    replace.append(current)
                    continue
                close.append(current)
            else:
                end_date = min((
                        m.start_date - day for m in managers
                        if m.start_date > date), default=None)
            create.append({
                    'partner': partner.id,
                    'employee': employee.id,
                    'start_date': date,
                    'end_date': end_date,
                    })
        with Transaction().set_context(_prm_handover=True):
            to_write = []
            if close:
                to_write.extend((close, {'end_date': date - day}))
            if replace:
                to_write.extend((replace, {'employee': employee.id}))
            if to_write:
                Manager.write(*to_write)
            if create:
                Manager.create(create)
        cls.check_managers(partners)
        cls._handed_over(handovers, employee, date)

    @classmethod
    def _handed_over(cls, handovers, employee, date):
        """Do what follows from the handovers to the employee at the date

        handovers is a list of the partner, the employee who managed it and
        the last day of the new manager or None.
        """

    @classmethod
    def take_in(cls, party, Model):
        """Give the records of the party to the partner it is at their date

        Those that have already a partner keep it.
        """
        cursor = Transaction().connection.cursor()
        table = Model.__table__()
        for partner in cls.search([('party', '=', party.id)]):
            where = (
                (table.party == party.id)
                & (table.company == partner.company.id)
                & (table.partner == Null)
                & (table.date >= partner.start_date))
            if partner.state == 'ended':
                where &= table.date < partner.end_date + dt.timedelta(days=1)
            cursor.execute(*table.update(
                    [table.partner], [partner.id], where=where))

    @classmethod
    @ModelView.button
    @Workflow.transition('onboarding')
    def onboard(cls, partners):
        "Give the partners the checklist of their type"
        pool = Pool()
        Step = pool.get('prm.partner.step')
        steps = [{
                'partner': partner.id,
                'sequence': step.sequence,
                'name': step.name,
                } for partner in partners if partner.type
            for step in partner.type.steps]
        if steps:
            Step.create(steps)

    @classmethod
    @ModelView.button
    @Workflow.transition('active')
    def activate(cls, partners):
        for partner in partners:
            for step in partner.steps:
                if not step.done:
                    raise PartnerStateError(gettext(
                            'prm.msg_partner_step_open',
                            partner=partner.rec_name,
                            step=step.rec_name))

    @classmethod
    @ModelView.button
    @Workflow.transition('suspended')
    def suspend(cls, partners):
        pass

    @classmethod
    @ModelView.button
    @Workflow.transition('active')
    def resume(cls, partners):
        pass

    @classmethod
    @ModelView.button
    @Workflow.transition('ended')
    def end(cls, partners):
        pool = Pool()
        Date = pool.get('ir.date')
        Manager = pool.get('prm.partner.manager')
        today = Date.today()
        for partner in partners:
            if not partner.end_date or not partner.end_reason:
                raise PartnerStateError(gettext(
                        'prm.msg_partner_end_required',
                        partner=partner.rec_name))
            if partner.end_date > today:
                raise PartnerStateError(gettext(
                        'prm.msg_partner_end_future',
                        partner=partner.rec_name,
                        date=_format_date(partner.end_date)))
        periods = []
        for sub_partners in grouped_slice(partners, _SIZE):
            periods.extend(Manager.search([
                        ('partner', 'in', list(map(int, sub_partners))),
                        ['OR',
                            ('end_date', '=', None),
                            ('end_date', '>', min(
                                    p.end_date for p in partners)),
                            ],
                        ]))
        closed = defaultdict(list)
        for period in periods:
            end_date = period.partner.end_date
            if period.start_date > end_date:
                raise ManagerError(gettext(
                        'prm.msg_partner_end_manager',
                        partner=period.partner.rec_name,
                        employee=period.employee.rec_name,
                        start_date=_format_date(period.start_date),
                        end_date=_format_date(end_date)))
            if not period.end_date or period.end_date > end_date:
                closed[end_date].append(period)
        if closed:
            with Transaction().set_context(_prm_handover=True):
                Manager.write(*sum((
                            (ms, {'end_date': date})
                            for date, ms in closed.items()), ()))

    @classmethod
    @ModelView.button_action('prm.act_partner_form')
    def restart(cls, partners):
        "Open new prospects for the parties of the ended partners"
        today = cls.default_start_date()
        restarted = cls.create([
                p._restart_values(today) for p in partners
                if p.state == 'ended'])
        return {
            'res_id': [p.id for p in restarted],
            }

    def _restart_values(self, date):
        manager = self.manager
        if manager and manager.end_date and manager.end_date < date:
            manager = None
        return {
            'company': self.company.id,
            'party': self.party.id,
            'type': self.type.id if self.type else None,
            'specialisations': [
                ('add', [s.id for s in self.specialisations])],
            'territory': self.territory.id if self.territory else None,
            'parent': (self.parent.id
                if self.parent and self.parent.state != 'ended' else None),
            'manager': manager.id if manager else None,
            'start_date': date,
            'previous': self.id,
            'description': self.description,
            'contacts': [('create', [{
                            'party': c.party.id,
                            'role': c.role,
                            } for c in self.contacts])],
            }


class PartnerContact(sequence_ordered(), ModelSQL, ModelView):
    __name__ = 'prm.partner.contact'
    __string__ = "Partner Contact"

    partner = fields.Many2One(
        'prm.partner', "Partner", required=True, ondelete='CASCADE')
    company = fields.Function(fields.Many2One(
            'company.company', "Company"),
        'on_change_with_company', searcher='search_company')
    party = fields.Many2One(
        'party.party', "Party", required=True, ondelete='CASCADE',
        context={
            'company': Eval('company', -1),
            },
        depends={'company'},
        help="The person.")
    role = fields.Char(
        "Role",
        help="What the person does for the partner.")
    phone = fields.Function(fields.Char("Phone"), 'get_mechanism')
    email = fields.Function(fields.Char("E-mail"), 'get_mechanism')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('partner')
        t = cls.__table__()
        cls._sql_constraints += [
            ('party_unique', Unique(t, t.partner, t.party),
                'prm.msg_partner_contact_unique'),
            ]
        cls._sql_indexes.add(Index(t, (t.party, Index.Equality())))

    @fields.depends('partner', '_parent_partner.company')
    def on_change_with_company(self, name=None):
        return self.partner.company if self.partner else None

    @classmethod
    def search_company(cls, name, clause):
        return [('partner.' + clause[0], *clause[1:])]

    @classmethod
    def get_mechanism(cls, contacts, names):
        types = {
            'phone': {'phone', 'mobile'},
            'email': {'email'},
            }
        values = {n: {} for n in names}
        for contact in contacts:
            for name in names:
                mechanism = contact.party.contact_mechanism_get(types[name])
                values[name][contact.id] = (
                    mechanism.value if mechanism else None)
        return values

    def get_rec_name(self, name):
        return self.party.rec_name

    @classmethod
    def search_rec_name(cls, name, clause):
        return [('party.rec_name', *clause[1:])]


class PartnerManager(ModelSQL, ModelView):
    __name__ = 'prm.partner.manager'
    __string__ = "Partner Manager"

    partner = fields.Many2One(
        'prm.partner', "Partner", required=True, ondelete='CASCADE')
    company = fields.Function(fields.Many2One(
            'company.company', "Company"),
        'on_change_with_company', searcher='search_company')
    employee = fields.Many2One(
        'company.employee', "Employee", required=True, ondelete='RESTRICT',
        domain=[
            ('company', '=', Eval('company', -1)),
            ])
    start_date = fields.Date(
        "Start Date", required=True,
        help="The first day the employee manages the partner.")
    end_date = fields.Date(
        "End Date",
        domain=[
            If(Bool(Eval('end_date')) & Bool(Eval('start_date')),
                ('end_date', '>=', Eval('start_date')),
                ()),
            ],
        help="The last day the employee manages the partner.\n"
        "Leave empty for the present manager.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('partner')
        t = cls.__table__()
        cls._order = [
            ('partner', 'ASC'),
            ('start_date', 'DESC'),
            ('id', 'DESC'),
            ]
        cls._sql_constraints += [
            ('start_unique', Unique(t, t.partner, t.start_date),
                'prm.msg_partner_manager_start_unique'),
            ('open_exclude', Exclude(t, (t.partner, Equal),
                    where=t.end_date == Null),
                'prm.msg_partner_manager_open_unique'),
            ]
        cls._sql_indexes.update({
                Index(t,
                    (t.partner, Index.Range()),
                    (t.start_date, Index.Range(order='DESC'))),
                Index(t, (t.employee, Index.Equality())),
                })

    @classmethod
    def default_start_date(cls):
        return Pool().get('ir.date').today()

    @fields.depends('partner', '_parent_partner.company')
    def on_change_with_company(self, name=None):
        return self.partner.company if self.partner else None

    @classmethod
    def search_company(cls, name, clause):
        return [('partner.' + clause[0], *clause[1:])]

    def get_rec_name(self, name):
        return f'{self.employee.rec_name} @ {self.partner.rec_name}'

    @classmethod
    def search_rec_name(cls, name, clause):
        _, operator, operand, *extra = clause
        if operator.startswith('!') or operator.startswith('not '):
            bool_op = 'AND'
        else:
            bool_op = 'OR'
        return [bool_op,
            ('employee.rec_name', operator, operand, *extra),
            ('partner.rec_name', operator, operand, *extra),
            ]

    @classmethod
    def create(cls, vlist):
        "Hand the partners over when a next manager has no end date"
        pool = Pool()
        Employee = pool.get('company.employee')
        Partner = pool.get('prm.partner')
        day = dt.timedelta(days=1)
        nexts = {
            v['partner']: v for v in vlist
            if v.get('partner') and v.get('start_date')
            and not v.get('end_date')}
        to_write, handovers = [], defaultdict(list)
        for sub_partners in grouped_slice(list(nexts), _SIZE):
            for manager in cls.search([
                        ('partner', 'in', list(sub_partners)),
                        ('end_date', '=', None),
                        ]):
                values = nexts[manager.partner.id]
                start_date = values['start_date']
                if manager.start_date < start_date:
                    to_write.extend(
                        ([manager], {'end_date': start_date - day}))
                    handovers[(values['employee'], start_date)].append(
                        (manager.partner, manager.employee, None))
        if to_write:
            with Transaction().set_context(_prm_handover=True):
                cls.write(*to_write)
        managers = super().create(vlist)
        for (employee, date), partners in handovers.items():
            Partner._handed_over(partners, Employee(employee), date)
        return managers

    @classmethod
    def validate_fields(cls, managers, field_names):
        super().validate_fields(managers, field_names)
        if {'partner', 'start_date', 'end_date'} & field_names:
            cls.check_overlap(managers)
        if {'employee', 'start_date'} & field_names:
            cls.check_employee(managers)

    @classmethod
    def check_overlap(cls, managers):
        "Check that the partners of the managers never have two at a date"
        pool = Pool()
        Partner = pool.get('prm.partner')
        cursor = Transaction().connection.cursor()
        table = cls.__table__()
        other = cls.__table__()
        for sub_managers in grouped_slice(managers, _SIZE):
            cursor.execute(*table
                .join(other,
                    condition=(table.partner == other.partner)
                    & (table.id != other.id))
                .select(
                    table.partner, table.id, other.id,
                    where=_in(
                        table.id, list(map(int, sub_managers)))
                    & (table.start_date
                        <= Coalesce(other.end_date, table.start_date))
                    & (other.start_date
                        <= Coalesce(table.end_date, other.start_date)),
                    limit=1))
            if row := cursor.fetchone():
                partner, manager, other = row
                raise ManagerError(gettext(
                        'prm.msg_partner_manager_overlap',
                        partner=Partner(partner).rec_name,
                        first=cls(manager).employee.rec_name,
                        second=cls(other).employee.rec_name))

    @classmethod
    def check_employee(cls, managers):
        "Check that nobody starts to manage a partner after having left"
        for manager in managers:
            end_date = manager.employee.end_date
            if end_date and end_date < manager.start_date:
                raise ManagerError(gettext(
                        'prm.msg_partner_manager_left',
                        partner=manager.partner.rec_name,
                        employee=manager.employee.rec_name,
                        end_date=_format_date(end_date),
                        start_date=_format_date(
                            manager.start_date)))

    @classmethod
    def on_modification(cls, mode, managers, field_names=None):
        super().on_modification(mode, managers, field_names=field_names)
        if mode in {'create', 'write'}:
            cls._check_gap({m.partner.id for m in managers})

    @classmethod
    def on_delete(cls, managers):
        callback = super().on_delete(managers)
        partners = {m.partner.id for m in managers}
        callback.append(lambda: cls._check_gap(partners))
        return callback

    @classmethod
    def _check_gap(cls, partners):
        pool = Pool()
        Partner = pool.get('prm.partner')
        if not Transaction().context.get('_prm_handover'):
            Partner.check_managers(list(partners))


class PartnerHandover(Wizard):
    "Hand partners over to another employee"
    __name__ = 'prm.partner.handover'
    start = StateView(
        'prm.partner.handover.start', 'prm.partner_handover_start_view_form', [
            Button("Cancel", 'end', 'tryton-cancel'),
            Button("Hand Over", 'handover', 'tryton-ok', default=True),
            ])
    handover = StateTransition()

    def default_start(self, fields):
        context = Transaction().context
        values = {}
        if context.get('active_model') == 'prm.partner':
            values['partners'] = [
                p.id for p in self.records if p.state != 'ended']
        return values

    def transition_handover(self):
        pool = Pool()
        Partner = pool.get('prm.partner')
        with check_access():
            partners = Partner.search([
                    ('id', 'in', list(map(int, self.start.partners))),
                    ], order=[('id', 'ASC')])
        for employee, to_hand_over in self._allot(
                Partner.browse(partners)).items():
            self._hand_over(to_hand_over, employee)
        return 'end'

    def _allot(self, partners):
        "Return the partners that each employee gets"
        return getattr(self, f'_allot_{self.start.method}')(partners)

    def _allot_employee(self, partners):
        return {self.start.employee: partners}

    def _allot_territory(self, partners):
        allotted = defaultdict(list)
        for partner in partners:
            territory = partner.territory
            if not territory or not territory.employee:
                raise ManagerError(gettext(
                        'prm.msg_partner_handover_territory',
                        partner=partner.rec_name))
            allotted[territory.employee].append(partner)
        return allotted

    def _allot_load(self, partners):
        "Each partner goes to who has the fewest at that time"
        pool = Pool()
        Partner = pool.get('prm.partner')
        employees = self.start.employees
        with Transaction().set_context(date=self.start.date):
            loads = Counter(
                p.manager for p in Partner.search([
                        ('state', '!=', 'ended'),
                        ('manager', 'in', list(map(int, employees))),
                        ('id', 'not in', list(map(int, partners))),
                        ]))
        allotted = defaultdict(list)
        for partner in partners:
            employee = min(
                employees, key=lambda e: (loads[e], employees.index(e)))
            loads[employee] += 1
            allotted[employee].append(partner)
        return allotted

    def _hand_over(self, partners, employee):
        pool = Pool()
        Partner = pool.get('prm.partner')
        Partner.handover(partners, employee, date=self.start.date)


class PartnerHandoverStart(ModelView):
    __name__ = 'prm.partner.handover.start'
    __string__ = "Hand Over Partners"

    company = fields.Many2One('company.company', "Company", required=True)
    former_manager = fields.Many2One(
        'company.employee', "Former Manager",
        domain=[
            ('company', '=', Eval('company', -1)),
            ],
        help="Choose all the partners that the employee manages.")
    territory = fields.Many2One(
        'prm.territory', "Territory",
        domain=[
            ('company', '=', Eval('company', -1)),
            ],
        help="Choose only the partners of the territory.")
    partners = fields.Many2Many(
        'prm.partner', None, None, "Partners", required=True,
        domain=[
            ('company', '=', Eval('company', -1)),
            ('state', '!=', 'ended'),
            ])
    method = fields.Selection([
            ('employee', "One Employee"),
            ('load', "By Load"),
            ('territory', "By Territory"),
            ], "Method", required=True, sort=False,
        help="Give all the partners to one employee, to several who then "
        "have as many partners as possible equally, or each to the employee "
        "in charge of its territory.")
    employee = fields.Many2One(
        'company.employee', "New Manager",
        domain=[
            ('company', '=', Eval('company', -1)),
            ],
        states={
            'required': Eval('method') == 'employee',
            'invisible': Eval('method') != 'employee',
            })
    employees = fields.Many2Many(
        'company.employee', None, None, "New Managers",
        domain=[
            ('company', '=', Eval('company', -1)),
            ],
        states={
            'required': Eval('method') == 'load',
            'invisible': Eval('method') != 'load',
            })
    date = fields.Date(
        "Date", required=True,
        help="The first day of the new manager.")

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @classmethod
    def default_date(cls):
        return Pool().get('ir.date').today()

    @classmethod
    def default_method(cls):
        return 'employee'

    @fields.depends('company', 'former_manager', 'territory', 'partners')
    def on_change_former_manager(self):
        pool = Pool()
        Partner = pool.get('prm.partner')
        domain = []
        if self.former_manager:
            domain.append(('manager', '=', self.former_manager.id))
        if self.territory:
            domain.append(
                ('territory', 'child_of', [self.territory.id], 'parent'))
        if domain and self.company:
            self.partners = Partner.search([
                    ('company', '=', self.company.id),
                    ('state', '!=', 'ended'),
                    domain,
                    ])

    @fields.depends(methods=['on_change_former_manager'])
    def on_change_territory(self):
        self.on_change_former_manager()
